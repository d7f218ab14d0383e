/* GEMM: oneDNN on the CPU, cuBLASLt on CUDA. Accumulates in f32 for all dtypes.
 *
 *   D[M,N] = op(A)[M,K] op(B)[K,N]  + bias[N]  + residual[M,N]      (rounded once, to D's dtype)
 *   D[M,N] += op(A) op(B)                                           (accumulate: D f32)
 *   D[M,N] = (op(A) op(B)) * gelu'(dgelu_of[M,N])                   (where gemm_fuses_dgelu)
 *
 * op(X) = X, or its transpose: A is stored [M,K] with row stride lda, or [K,M] where trans_a; B [K,N] with ldb, or
 * [N,K] where trans_b. A and B have one dtype; D has the same dtype or f32. bias requires that D has A's dtype (a limit of
 * cuBLASLt). residual and dgelu_of have D's shape, row stride and dtype. D may alias residual, but no other operand: CUDA's
 * search runs trials into D. Leading dimensions are in elements.
 * b_is_weight: B does not change until gemm_weights_changed, so that it may be kept in a packed layout.
 * Adds 2*M*N*K to the device's counter under `work`. Bitwise repeatable for the same device and thread count; on CUDA for the
 * same GPU, library, shape and alignment of the pointers (mod 16 bytes). A sum over K is split only if the parts are kept in
 * f32 and added in a separate pass, never in D. f32 GEMMs do not use TF32.
 * If the CPU does not multiply bf16 (dev->bf16_products is false), the operands are widened. The product of two bf16 numbers
 * is exact in f32, so only the order of summation differs.
 *
 * If row m of op(A) has a value that is not finite, row m of D is not finite. In bf16 on a CPU with AMX, where K is not a
 * multiple of 32, oneDNN also multiplies up to 31 elements that follow a row of A by zeros. A NaN or an infinity there,
 * in row m + 1 or in the gap between the rows, makes row m of D NaN too. So callers must not rely on which other rows are
 * finite. A training step does not: each A is also an operand of a weight gradient. That gradient is then not finite either,
 * and so is the gradient norm, and the step is skipped. */
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
    const void *dgelu_of; /* [M,N] of dtype d, the input of GELU (tanh form), or NULL */
    bool accumulate;
    bool b_is_weight;
    work_kind work;
} gemm_args;

status gemm(device *dev, const gemm_args *g);

/* Whether dgelu_of may be given with these arguments: on CUDA, bf16 throughout, all pointers and rows aligned to 16
 * bytes, without bias, residual and accumulate. op(A) op(B) is not rounded before it is multiplied by gelu'. */
bool gemm_fuses_dgelu(const device *dev, const gemm_args *g);

/* CUDA only; off when the device opens. On: the first use of a shape times the algorithms that the library offers and keeps
 * the fastest. Off: it takes the library's first offer. The trials wait for the device; if D is an operand too, they allocate
 * another D. The fastest algorithm, and so the rounding, can differ from run to run: a resumed run then equals the
 * uninterrupted one only within rounding. */
void gemm_search(device *dev, bool on);

/* Call it when weights have changed: packed copies are then made again at their next use. */
void gemm_weights_changed(device *dev);
/* Of packed weights and workspaces, and of what oneDNN is estimated to take for itself in a GEMM (onednn_own_bytes). */
size_t gemm_memory_bytes(const device *dev);
/* Takes at once what the GEMMs that ran on `dry` (device_dry.h) need: then their first real run allocates nothing. On CUDA the
 * workspace is taken when the device opens. */
status gemm_reserve(device *dev, const device *dry);

/* The best rate, FLOP/s, of large GEMMs of dtype t. It tries for about `seconds`, or until a signal arrives (stop.h). On the
 * CPU 2048^3 and larger with packed weights; on CUDA 8192^3 and smaller with a search for the algorithm. */
status gemm_measure_peak(device *dev, dtype t, double seconds, double *flops_per_s);

#endif
