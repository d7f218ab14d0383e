/* x[n] = wte[token[n]] (+ wpe[first + t])      n = b*T + t
 *
 *   tokens [B,T] i32, every one in [0, V)   wte [V,C], wpe [positions,C] or NULL, x, dx [B,T,C] of dtype t
 *   dwte [V,C], dwpe [positions,C] f32
 * backward: dwte[token] += dx, after zeroing dwte where accumulate_wte is false; likewise dwpe (rows past T are zero).
 *           In f32, and in a fixed order whatever the number of threads: bitwise repeatable. The CPU adds rows in the order
 *           of n; so does CUDA, but for a token that occurs more than 4 times it adds the sums of a few runs of n.
 * The CPU checks the tokens. On CUDA they are for the host to check before they are uploaded; there a token out of range
 * gives a row of NaN and no gradient.
 * Bytes: forward x, and as much of wte, once; backward dx once (twice with wpe), the rows of dwte that occur read and
 * written where accumulate_wte, else all of dwte written. CUDA wants 8 bytes of scratch for each token of V and of B*T. */
#ifndef TALLY_EMBEDDING_H
#define TALLY_EMBEDDING_H

#include "runtime/device.h"

typedef struct {
    i64 B, T, C, V, positions; /* positions: rows of wpe, 0 without it */
} embedding_shape;

status embedding_forward(device *dev, dtype t, void *x, const int32_t *tokens, const void *wte, const void *wpe,
                         embedding_shape s, i64 first);
HALVES(embedding_forward);
status embedding_backward(device *dev, dtype t, float *dwte, float *dwpe, const void *dx, const int32_t *tokens,
                          embedding_shape s, bool accumulate_wte, bool accumulate_wpe);
HALVES(embedding_backward);

#endif
