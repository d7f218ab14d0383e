/* The language-model head fused with its loss, in chunks of tokens: logits of all tokens need not exist at once.
 *
 *   logits = x w^T   [chunk,V];   losses [N] f32 nats;   then for training dlogits = (softmax - onehot) * scale,
 *   dx = dlogits w   dw = or += dlogits^T x
 *
 *   x, dx [N,C], w [V,C] of dtype t   dw [V,C] f32   targets [N] i32 in [0,V) or -1 (not counted); N = B*T of the batch
 *   logits: scratch of classifier_logits_bytes
 *   dx NULL: evaluation, losses only. dx may be x (a chunk's x is used up before its dx is written).
 *
 * The CPU keeps logits in f32 (dlogits of bf16 lie behind them, of f32 in their place). CUDA keeps them in t, in rows of V
 * rounded up to 64, with the gradient in their place: of bf16 that is a third of the head's traffic less, and half the
 * memory. It rounds a logit once, to 2^-8 of its size: one of 25 moves by up to 0.06, a token's loss by as many nats, to either
 * side; f32 inside the loss. Peers under autocast do the same. */
#ifndef TALLY_CLASSIFIER_H
#define TALLY_CLASSIFIER_H

#include "runtime/device.h"
#include "runtime/tokens.h"

/* Tokens a chunk; of the device only its kind matters. CPU: 128 MiB of f32 logits, and never more than half of N (N > 1).
 * CUDA: 2 GiB of logits, in chunks of equal size, up to all N: each chunk behind the first reads and writes dw once more,
 * 8 V C bytes beside 6 n V C FLOP; at 3 TB/s and 600 TFLOP/s that is 270/n of its time, 2 % at n = 16k and 20 % at 1.3k.
 * Chunks begin at a multiple of 128 tokens, so that every C leaves them aligned. */
i64 classifier_chunk(const device *dev, dtype t, i64 N, i64 V);
size_t classifier_logits_bytes(const device *dev, dtype t, i64 N, i64 V);

typedef struct {
    const void *w;
    float *dw; /* read in training only */
    bool accumulate;
    void *logits;
    i64 C, V;
} classifier;

status classifier_forward_backward(device *dev, dtype t, float *losses, void *dx, const void *x, const classifier *c,
                                   token_batch b, float scale);

#endif
