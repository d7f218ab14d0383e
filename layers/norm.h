/* Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019), over the innermost C of rows.
 *
 *   LayerNorm  y = (x - mean) * rstd * g + b     rstd = 1/sqrt(var_C(x) + eps), biased variance
 *   RMSNorm    y = x * rstd * g                  rstd = 1/sqrt(mean_C(x^2) + eps)
 *
 *   x, y, dx, dy, dres  [N,G,C] of dtype t: N rows of G consecutive groups of C; row strides ldx, ldy in elements. G = 1
 *                       for a block's norms; G = heads, C = D for the q/k norm of Qwen3
 *   g, b [C] of dtype t   mean, rstd [N,G] f32, saved for backward (mean NULL: RMSNorm; b NULL with it)
 * forward:  y =
 * backward: dx = the norm's gradient, + dres if not NULL (the gradient of the residual path); may alias dy or dres
 *           dg, db = or += (accumulate), f32
 * Sums in f32 in a fixed order that does not depend on the number of threads: bitwise repeatable (on CUDA: between GPUs with
 * the same number of multiprocessors). On CUDA N*G is at most 2^31 - 1.
 * Bytes: forward x and y once; backward dy, x, dx and dres once, and on CUDA partial sums of dg and db, which stay in L2.
 * (CUDA reads long rows again, mostly from L2: rows of more than 8192 bf16 or 4096 f32, in LayerNorm's backward 6144 or 3072;
 * if pointers or strides are not multiples of 16 bytes, rows of more than 3072.)
 * The residual is not added here. The GEMM before adds it in its epilogue (D = A B + residual), where the sum is in registers.
 * A norm that adds would read two tensors instead of one, and write the sum. */
#ifndef TALLY_NORM_H
#define TALLY_NORM_H

#include "runtime/device.h"

typedef struct {
    i64 N, G, C, ldx, ldy; /* of x, dx, dres: ldx; of y, dy: ldy */
    float eps;
} norm_shape;

typedef struct {
    const void *g, *b;
    float *dg, *db; /* read by backward only */
    bool accumulate;
    norm_shape s;
} norm_layer;

typedef struct {
    float *mean, *rstd;
} norm_statistics;

status norm_forward(device *dev, dtype t, void *y, norm_statistics saved, const void *x, const norm_layer *n);
HALVES(norm_forward);
status norm_backward(device *dev, dtype t, void *dx, const void *dres, const void *dy, const void *x,
                     norm_statistics saved, const norm_layer *n);
HALVES(norm_backward);

#endif
