/* The language-model head fused with its loss, in chunks of tokens: logits of all tokens never exist at once.
 *
 *   logits = x w^T   [chunk,V] f32;   losses [N] f32 nats;   then for training dlogits = (softmax - onehot) * scale,
 *   dx = dlogits w   dw = or += dlogits^T x
 *
 *   x, dx [N,C], w [V,C] of dtype t   dw [V,C] f32   targets [N] i32 in [0,V) or -1 (not counted)
 *   logits: scratch of classifier_logits_bytes (dlogits of bf16 lie behind the f32 logits; of fp32 in place)
 *   dx NULL: evaluation, losses only. dx may be x (a chunk's x is used up before its dx is written). */
#ifndef TALLY_CLASSIFIER_H
#define TALLY_CLASSIFIER_H

#include "runtime/device.h"

i64 classifier_chunk(i64 N, i64 V); /* tokens a chunk: 128 MiB of f32 logits, and never more than half of N (N > 1) */
size_t classifier_logits_bytes(dtype t, i64 N, i64 V);

status classifier_forward_backward(device *dev, dtype t, float *losses, void *dx, float *dw, void *logits,
                                   const void *x, const void *w, const int32_t *targets, i64 N, i64 C, i64 V,
                                   float scale, bool accumulate);

#endif
