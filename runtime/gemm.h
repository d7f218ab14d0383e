/* Matrix products: oneDNN on the CPU, cuBLASLt on CUDA. f32 accumulation whatever the dtypes.
 *
 *   D[M,N] = op(A)[M,K] op(B)[K,N]  + bias[N]  + residual[M,N]      (rounded once, to D's dtype)
 *   D[M,N] += op(A) op(B)                                           (accumulate: D f32)
 *   D[M,N] = (op(A) op(B)) * gelu'(dgelu_of[M,N])                   (where gemm_fuses_dgelu)
 *
 * op(X) = X, or its transpose: A is stored [M,K] with row stride lda, or [K,M] where trans_a; B [K,N] with ldb, or
 * [N,K] where trans_b. A and B are of one dtype; D is of that dtype or f32; bias goes with D of that dtype only, as
 * cuBLASLt has it. residual and dgelu_of have D's shape, row stride and dtype. D may be residual and nothing else of
 * these: CUDA's search runs trials into D. Leading dimensions are in elements.
 * b_is_weight: B does not change until gemm_weights_changed, so that it may be kept in a packed layout.
 * Adds 2*M*N*K to the device's counter under `work`. Repeatable bitwise for the same device and thread count, on CUDA
 * for the same GPU, library, shape and alignment of the pointers (mod 16 bytes): a sum over K may be cut up only where
 * the parts are kept in f32 and added in a pass of their own, never in D. f32 products are of f32: without TF32.
 * Where the CPU has no bf16 product (dev->bf16_products is false) the operands are widened: the products of two bf16
 * are exact in f32, so only the order of summation differs.
 *
 * A value that is not finite in row m of op(A) makes row m of D not finite. In bf16 on a CPU with AMX, where K is not a
 * multiple of 32, oneDNN also multiplies up to 31 elements that follow a row of A by zeros. A NaN or an infinity there,
 * in row m + 1 or in the gap between the rows, makes row m of D NaN too. So callers must not rely on which other rows are
 * finite. A training step does not: each A is an operand of a weight gradient too, which then is not finite, and the step
 * is skipped by its gradient norm. */
#ifndef TALLY_GEMM_H
#define TALLY_GEMM_H

#include "runtime/device.h"

typedef struct {
    i64 M, N, K;
    const void *A, *B;
    void *D;
    i64 lda, ldb, ldd;
    bool trans_a, trans_b;
    dtype ab, d;
    const void *bias;     /* [N] of dtype ab, or NULL */
    const void *residual; /* [M,N] of dtype d, or NULL */
    const void *dgelu_of; /* [M,N] of dtype d, what GELU (the tanh form) was taken of, or NULL */
    bool accumulate;
    bool b_is_weight;
    work_kind work;
} gemm_args;

status gemm(device *dev, const gemm_args *g);

/* Whether dgelu_of may be given with these arguments: on CUDA, bf16 throughout, all pointers and rows aligned to 16
 * bytes, without bias, residual and accumulate. The product is not rounded before it is multiplied. */
bool gemm_fuses_dgelu(const device *dev, const gemm_args *g);

/* CUDA, off at first: a shape's first use tries what the library offers for it and keeps the fastest, where it else
 * takes the library's first offer. It waits for the device, and where D is also an operand it allocates a D for the
 * trials. Which is fastest can differ from run to run, and roundings with it: a run that is resumed is then equal
 * within rounding only. */
void gemm_search(device *dev, bool on);

/* Every weight has changed: packed copies are made anew at their next use. */
void gemm_weights_changed(device *dev);
size_t gemm_memory_bytes(const device *dev); /* packed weights and workspaces held now */

/* The best rate, FLOP/s, of large GEMMs of dtype t, tried for about `seconds` or until a signal comes (stop.h): 2048^3 and
 * larger, packed; on CUDA 8192^3 and smaller, with a search for the algorithm. */
status gemm_measure_peak(device *dev, dtype t, double seconds, double *flops_per_s);

#endif
