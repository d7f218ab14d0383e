/* The language-model head fused with its loss. It works in chunks of tokens, so that only one chunk's logits exist at a time.
 *
 *   logits = x w^T   [chunk,V];   losses [N] f32 nats
 *   training:  dlogits = (softmax - onehot) * scale   dx = dlogits w   dw = or += dlogits^T x
 *
 *   x, dx [N,C], w [V,C] of dtype t   dw [V,C] f32   targets [N] i32 in [0,V) or -1 (not counted); N = B*T of the batch
 *   logits: scratch of classifier_logits_bytes
 *   dx NULL: evaluation, losses only. dx may be x: a chunk's x is read before its dx is written.
 *
 * The CPU keeps logits in f32. Its dlogits overwrite them in f32 and lie behind them in bf16. CUDA keeps logits in t, in rows
 * of V rounded up to 64, and overwrites them with dlogits. In bf16 this saves a third of the head's memory traffic and half of
 * its memory. It rounds each logit once, with a relative error of up to 2^-8: a logit of 25 changes by up to 0.06, and a
 * token's loss by up to as many nats, in either direction. The loss itself is computed in f32. PyTorch under autocast does
 * the same. */
#ifndef TALLY_CLASSIFIER_H
#define TALLY_CLASSIFIER_H

#include "runtime/device.h"
#include "runtime/tokens.h"

/* Tokens of a chunk. It depends on the device's kind only. CPU: 128 MiB of f32 logits, at most half of N (N > 1).
 * CUDA: 2 GiB of logits in chunks of equal size, up to all N. Every chunk after the first reads and writes dw once more,
 * 8 V C bytes beside 6 n V C FLOP; at 3 TB/s and 600 TFLOP/s that is 270/n of its time, 2 % at n = 16k and 20 % at 1.3k.
 * Chunks begin at multiples of 128 tokens, which keeps them aligned for every C. */
i64 classifier_chunk(const device *dev, dtype t, i64 N, i64 V);
size_t classifier_logits_bytes(const device *dev, dtype t, i64 N, i64 V);

typedef struct {
    const void *w;
    float *dw; /* NULL is allowed in evaluation */
    bool accumulate;
    void *logits;
    i64 C, V;
} classifier;

status classifier_forward_backward(device *dev, dtype t, float *losses, void *dx, const void *x, const classifier *c,
                                   token_batch b, float scale);

#endif
