/* x[n] = wte[token[n]] (+ wpe[first + t])      n = b*T + t
 *
 *   tokens [B,T] i32, every one in [0, V): checked   wte [V,C], wpe [positions,C] or NULL, x, dx [B,T,C] of dtype t
 *   dwte [V,C], dwpe [positions,C] f32
 * backward: dwte[token] += dx, after zeroing dwte where accumulate_wte is false; likewise dwpe (rows past T are zero).
 *           Rows are added in the order of n whatever the number of threads: bitwise repeatable. */
#ifndef TALLY_EMBEDDING_H
#define TALLY_EMBEDDING_H

#include "runtime/device.h"

typedef struct {
    i64 B, T, C, V, positions; /* positions: rows of wpe, 0 without it */
} embedding_shape;

status embedding_forward(device *dev, dtype t, void *x, const int32_t *tokens, const void *wte, const void *wpe,
                         embedding_shape s, i64 first);
status embedding_backward(device *dev, dtype t, float *dwte, float *dwpe, const void *dx, const int32_t *tokens,
                          embedding_shape s, bool accumulate_wte, bool accumulate_wpe);

#endif
