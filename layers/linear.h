/* y = x w^T + b + residual
 *
 *   x, dx [N,I]   y, dy, residual [N,O]   w [O,I]   b [O]   of dtype t   dw [O,I], db [O] f32
 *   b NULL: no bias; residual NULL: nothing is added
 * forward:  y =   (y may be residual)
 * backward: dx = dy w      dw = dy^T x      db = sum_N dy, in a fixed order; dw and db += where accumulate
 *           dx NULL: skipped; db NULL: skipped
 * backward_gelu: the same for x = gelu(up), up [N,I], but dx = (dy w) gelu'(up)
 * Bytes: those of its GEMMs, see gemm.h; the bias gradient reads dy once more. Where gemm_fuses_dgelu, backward_gelu neither
 * writes nor reads dy w, and does not round it; elsewhere it is linear_backward, then activation_gelu_backward.
 * The forward does not fuse GELU: it would apply GELU to the unrounded sum, but selective recompute applies it to the
 * stored up, in bf16, and the two must give the same bits. */
#ifndef TALLY_LINEAR_H
#define TALLY_LINEAR_H

#include "runtime/device.h"

typedef struct {
    const void *w, *b;
    float *dw, *db; /* read by backward only */
    bool accumulate;
    i64 I, O;
} linear;

status linear_forward(device *dev, dtype t, void *y, const void *x, const linear *l, const void *residual, i64 N);
status linear_backward(device *dev, dtype t, void *dx, const void *dy, const void *x, const linear *l, i64 N);
status linear_backward_gelu(device *dev, dtype t, void *dx, const void *dy, const void *x, const void *up,
                            const linear *l, i64 N);

/* backward, db alone: linear_backward calls it */
status linear_bias_backward(device *dev, dtype t, const void *dy, const linear *l, i64 N);
HALVES(linear_bias_backward);

#endif
