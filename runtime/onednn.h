/* oneDNN's matmul behind a few functions: versions 2 and 3 of its C API, and a cache of primitives. The CPU must be able to
 * multiply the operands' dtypes; gemm_cpu.c handles the others.
 *
 *   D = op(A) op(B) + bias + residual   or   D += op(A) op(B), in one primitive, rounded once to D's dtype
 */
#ifndef TALLY_ONEDNN_H
#define TALLY_ONEDNN_H

#include "runtime/device.h"

typedef struct onednn onednn; /* engine, stream, primitives */
typedef struct matmul matmul; /* one primitive; the cache owns it until onednn_close */

/* isa: what oneDNN dispatches to, e.g. "avx2"; bf16_products: whether that multiplies bf16 without emulation */
status onednn_open(onednn **nn, char *isa, size_t isa_bytes, bool *bf16_products);
void onednn_close(onednn *nn);
void onednn_version(char *text, size_t bytes); /* of the loaded library, e.g. "oneDNN 3.7.2" */

typedef enum { ADD_NOTHING, ADD_TO_D, ADD_RESIDUAL } matmul_add;

/* all members of one type: no padding, so it is hashed and compared as bytes */
typedef struct {
    i64 M, N, K, lda, ldb, ldd;
    i64 trans_a, trans_b;
    i64 ab, d;    /* dtypes */
    i64 add;      /* matmul_add; a residual has D's dtype and stride */
    i64 has_bias; /* [N], of dtype ab */
    i64 may_pack; /* oneDNN may choose B's layout */
} matmul_shape;

status onednn_matmul(onednn *nn, matmul **m, const matmul_shape *shape); /* cached, or newly made */

size_t onednn_scratch_bytes(const matmul *m);
/* What oneDNN allocates itself during a run, and does not report: 0 but for its "gemm:jit" (AVX2), whose threads copy blocks of the
 * operands. Estimated from its source: see onednn.c. */
size_t onednn_own_bytes(const matmul *m);
size_t onednn_packed_bytes(const matmul *m); /* 0: B is used as it is stored */
bool onednn_same_packing(const matmul *a, const matmul *b);
status onednn_pack(onednn *nn, matmul *m, void *packed, const void *B); /* B: unpacked, as in the shape */

/* B: packed if onednn_packed_bytes is not 0. bias, residual: used if the shape has them. */
status onednn_run(onednn *nn, matmul *m, void *D, const void *A, const void *B, const void *bias, const void *residual,
                  void *scratch);

#endif
