/* A check of a GEMM library: small GEMMs of integers, in each dtype and layout that the trainer uses, are compared with their
 * exact values. It takes 1 ms of one core; the first check in a process takes 6 to 32 ms, because the library makes its
 * kernels.
 *
 * All sums are below 2^24, so that f32 holds them exactly in any order of summation. D in bf16 is the exact sum, rounded
 * once. If ab is f32, one factor of each product has 12 significant bits, so that rounding operands to bf16 or TF32 is
 * detected. The gaps between the rows of D must not change. */
#ifndef TALLY_GEMM_CHECK_H
#define TALLY_GEMM_CHECK_H

#include "runtime/gemm.h"

typedef status_code gemm_function(device *dev, const gemm_args *g);

/* A wrong element is a DEVICE error with `library`, instruction set, shape, layout and element. */
status gemm_check(device *dev, gemm_function *product, const char *library);

#endif
