/* y = x w^T + b + residual
 *
 *   x, dx [N,I]   y, dy, residual [N,O]   w [O,I]   b [O]   of dtype t (b, residual may be NULL)   dw [O,I], db [O] f32
 * forward:  y =   (y may be residual)
 * backward: dx = dy w      dw = or += dy^T x      db = or += sum_N dy (fixed order; skipped where NULL)
 * backward_gelu: as backward where x = gelu(up), but for dx = (dy w) gelu'(up);   up [N,I]
 * Bytes: those of its matrix products, see gemm.h; the bias gradient reads dy once more. backward_gelu does not write and
 * read dy w where gemm_fuses_dgelu, and there dy w is not rounded; elsewhere it is linear_backward, then activation_gelu_backward.
 * GELU is not fused in the forward: there it would be of the unrounded sum, while what selective recompute makes again
 * is of the stored up, in bf16, and the two must be the same bits. */
#ifndef TALLY_LINEAR_H
#define TALLY_LINEAR_H

#include "runtime/device.h"

status linear_forward(device *dev, dtype t, void *y, const void *x, const void *w, const void *b, const void *residual,
                      i64 N, i64 I, i64 O);
status linear_backward(device *dev, dtype t, void *dx, float *dw, float *db, const void *dy, const void *x,
                       const void *w, i64 N, i64 I, i64 O, bool accumulate);
status linear_backward_gelu(device *dev, dtype t, void *dx, float *dw, float *db, const void *dy, const void *x,
                            const void *w, const void *up, i64 N, i64 I, i64 O, bool accumulate);

#endif
