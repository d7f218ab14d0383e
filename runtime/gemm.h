/* Matrix products: oneDNN on the CPU, cuBLASLt on CUDA. f32 accumulation whatever the dtypes.
 *
 *   D[M,N] = op(A)[M,K] op(B)[K,N]  + bias[N]  + residual[M,N]      (rounded once, to D's dtype)
 *   D[M,N] += op(A) op(B)                                           (accumulate: D f32)
 *
 * op(X) = X, or its transpose: A is stored [M,K] with row stride lda, or [K,M] where trans_a; B [K,N] with ldb, or [N,K]
 * where trans_b. A, B and bias are of one dtype; D is of that dtype or f32. residual has D's shape, row stride and dtype
 * and may be D itself. Leading dimensions are in elements.
 * b_is_weight: B does not change until gemm_weights_changed, so that it may be kept in a packed layout.
 * Adds 2*M*N*K to the device's counter under `work`. Repeatable bitwise for the same device and thread count.
 * Where the CPU has no bf16 product (dev->bf16_products is false) the operands are widened: the products of two bf16
 * are exact in f32, so only the order of summation differs. */
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
    bool accumulate;
    bool b_is_weight;
    work_kind work;
} gemm_args;

status gemm(device *dev, const gemm_args *g);

/* Every weight has changed: packed copies are made anew at their next use. */
void gemm_weights_changed(device *dev);
size_t gemm_memory_bytes(const device *dev); /* packed weights and workspace held now */

/* The best rate, FLOP/s, that large products of dtype t reach for about `seconds` of trying: 2048^3 and up, packed. */
status gemm_measure_peak(device *dev, dtype t, double seconds, double *flops_per_s);

#endif
