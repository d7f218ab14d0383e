/* Named ranges in the profile of a GPU run: a profiler (Nsight Systems: nsys profile tally train ...) shows them above the
 * kernels that were launched in them, so that the profile reads like the code. They are NVTX ranges in builds with CUDA and
 * nothing in builds without.
 *
 *   step 7
 *     data wait; forward embedding; forward block 0 ..; head; backward block 0 ..; backward embedding; optimizer
 *       in backward: recompute
 *   evaluation, checkpoint
 *
 * Ranges nest: range_end ends the last one that this thread began. A failed step may leave its range open; the process's end
 * closes it. Without a profiler a range costs one snprintf. */
#ifndef TALLY_RANGE_H
#define TALLY_RANGE_H

#include "runtime/tensor.h"

enum { RANGE_PLAIN = -1 };

/* "NAME NUMBER", or "NAME" for RANGE_PLAIN; at most 63 characters */
void range_begin(const char *name, i64 number);
void range_end(void);

#endif
