/* x[n] = wte[token[n]] (+ wpe[first + t - starts[n]])      n = b*T + t; without starts (tokens.h), wpe[first + t]
 *
 *   tokens [B,T] i32, every one in [0, V)   wte [V,C], wpe [positions,C] or NULL, x, dx [B,T,C] of dtype t
 *   dwte [V,C], dwpe [positions,C] f32
 * backward: dwte[token] += dx, after zeroing dwte unless accumulate_wte; likewise dwpe, whose rows from T on become zero.
 *           In f32 and in a fixed order for any number of threads: bitwise repeatable. The CPU adds rows in the order of n.
 *           CUDA does the same, but for a token that occurs more than 4 times it adds the sums of a few runs of n; with
 *           starts, likewise for a position.
 * The CPU checks the tokens. For CUDA the host must check them before the upload; a token out of range gives a row of NaN
 * and no gradient. The host must check starts for both.
 * Bytes: forward x once and as many of wte; backward dx once (twice with wpe), and the rows of dwte that occur are read and
 * written if accumulate_wte, else all of dwte is written. CUDA needs 8 bytes of scratch per token of V and of B*T, or
 * with starts as much per position and 12 bytes per token of B*T, whichever is more. */
#ifndef TALLY_EMBEDDING_H
#define TALLY_EMBEDDING_H

#include "runtime/device.h"
#include "runtime/tokens.h"

typedef struct {
    const void *wte, *wpe;
    float *dwte, *dwpe; /* read by backward only */
    bool accumulate_wte, accumulate_wpe;
    i64 C, V, positions; /* positions: rows of wpe, 0 without wpe */
} embedding;

status embedding_forward(device *dev, dtype t, void *x, token_batch b, const embedding *e, i64 first);
HALVES(embedding_forward);
status embedding_backward(device *dev, dtype t, const void *dx, token_batch b, const embedding *e);
HALVES(embedding_backward);

#endif
