/* The pointwise functions of the feed-forward layer.
 *
 *   GELU (tanh form, Hendrycks & Gimpel 2016):  y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
 *       x, y, dx, dy [N,F] of dtype t; dx may be dy
 *   SwiGLU (Shazeer 2020):  y = silu(gate) * up,   silu(a) = a / (1 + exp(-a))
 *       x, dx [N,2F]: gate in the first F of a row, up in the second;   y, dy [N,F]
 * All outputs are =. Computed in f32. Lower bound on both devices: the bytes of each tensor once. */
#ifndef TALLY_ACTIVATION_H
#define TALLY_ACTIVATION_H

#include "runtime/device.h"

status activation_gelu_forward(device *dev, dtype t, void *y, const void *x, i64 N, i64 F);
HALVES(activation_gelu_forward);
status activation_gelu_backward(device *dev, dtype t, void *dx, const void *dy, const void *x, i64 N, i64 F);
HALVES(activation_gelu_backward);
status activation_swiglu_forward(device *dev, dtype t, void *y, const void *x, i64 N, i64 F);
HALVES(activation_swiglu_forward);
status activation_swiglu_backward(device *dev, dtype t, void *dx, const void *dy, const void *x, i64 N, i64 F);
HALVES(activation_swiglu_backward);

#endif
