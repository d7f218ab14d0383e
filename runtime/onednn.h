/* oneDNN's matrix product behind a few functions: versions 2 and 3 of its C API, and a cache of its primitives. The
 * operands are of dtypes that the CPU multiplies itself; what to do where it cannot, gemm_cpu.c knows.
 *
 *   D = op(A) op(B) + bias + residual   or   D += op(A) op(B), all in one primitive and rounded once, on the way to D
 */
#ifndef TALLY_ONEDNN_H
#define TALLY_ONEDNN_H

#include "runtime/device.h"

typedef struct onednn onednn; /* engine, stream, primitives */
typedef struct matmul matmul; /* one primitive: owned by the cache, stays until onednn_close */

/* isa: what oneDNN dispatches to, e.g. "avx2"; bf16_products: whether that multiplies bf16 without emulation */
status onednn_open(onednn **nn, char *isa, size_t isa_bytes, bool *bf16_products);
void onednn_close(onednn *nn);
void onednn_version(char *text, size_t bytes); /* "oneDNN 3.7.2": the one that is loaded */

typedef enum { ADD_NOTHING, ADD_TO_D, ADD_RESIDUAL } matmul_add;

/* all of one type, so that there is no padding: hashed and compared as bytes */
typedef struct {
    i64 M, N, K, lda, ldb, ldd;
    i64 trans_a, trans_b;
    i64 ab, d;    /* dtypes */
    i64 add;      /* matmul_add; a residual has D's dtype and stride */
    i64 has_bias; /* [N], of dtype ab */
    i64 may_pack; /* B may be kept in a layout of oneDNN's choice */
} matmul_shape;

status onednn_matmul(onednn *nn, matmul **m, const matmul_shape *shape); /* from the cache, or made */

size_t onednn_scratch_bytes(const matmul *m);
size_t onednn_packed_bytes(const matmul *m); /* 0: B is used as it is stored */
bool onednn_same_packing(const matmul *a, const matmul *b);
status onednn_pack(onednn *nn, matmul *m, void *packed, const void *B); /* B plain, as the shape says */

/* B: packed where onednn_packed_bytes says so. bias, residual: used where the shape says so. */
status onednn_run(onednn *nn, matmul *m, void *D, const void *A, const void *B, const void *bias, const void *residual,
                  void *scratch);

#endif
