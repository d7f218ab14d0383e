/* A check of a matrix library: small products of integers, for each dtype and each of the layouts that the trainer uses,
 * against their exact values. It takes 1 ms of one core, and the first time in a process 6 to 32 ms, in which the
 * library makes its kernels.
 *
 * All sums are below 2^24, so that f32 holds them exactly in whatever order they are taken; D in bf16 is the exact
 * sum, rounded once. Where ab is f32 one factor of each product has 12 significant bits: a product of operands that
 * were rounded to bf16 or TF32 is found. What is between the rows of D must stay as it was. */
#ifndef TALLY_GEMM_CHECK_H
#define TALLY_GEMM_CHECK_H

#include "runtime/gemm.h"

typedef status_code gemm_function(device *dev, const gemm_args *g);

/* DEVICE error where an element is wrong: it names `library`, the instruction set, shape, layout and element. */
status gemm_check(device *dev, gemm_function *product, const char *library);

#endif
