/* sum += sum_i x_i^2 in f64 (squares do not overflow), in blocks of 65,536 elements; block sums are added in order.
 *   x [n] f32; sum f64, in the device's memory. The order does not depend on the number of threads or multiprocessors: bitwise
 *   repeatable. Reads x once; two launches on CUDA.
 * scratch: gradnorm_scratch_bytes(n). */
#ifndef TALLY_GRADNORM_H
#define TALLY_GRADNORM_H

#include "runtime/device.h"

size_t gradnorm_scratch_bytes(i64 n);
status gradnorm_sum_squares(device *dev, double *sum, const float *x, i64 n, void *scratch);
HALVES(gradnorm_sum_squares);

#endif
