/* Softmax cross-entropy of rows of logits, and its gradient in the same pass.
 *
 *   losses[n] = log sum_v exp(logits[n,v]) - logits[n,target[n]]          nats, f32
 *   dlogits[n,v] = (softmax(logits[n])[v] - [v == target[n]]) * scale     of dtype t; NULL: loss only
 *
 *   logits [N,V] f32   targets [N] i32 in [0,V), or -1: that row is not counted, loss and gradient 0
 *   dlogits may be logits where t is F32.
 * A logit of a counted row that is not finite makes the loss of that row NaN or inf, -inf included: it is an overflow,
 * and would else pass as a probability of 0. Each row on its own, sums in a fixed order: bitwise repeatable. */
#ifndef TALLY_CROSSENTROPY_H
#define TALLY_CROSSENTROPY_H

#include "runtime/device.h"

status crossentropy_forward_backward(device *dev, dtype t, void *dlogits, float *losses, const float *logits,
                                     const int32_t *targets, i64 N, i64 V, float scale);

/* *sum (f64, in the device's memory) = or += the losses, added in f64 in a fixed order */
status losses_sum(device *dev, double *sum, const float *losses, i64 N, bool accumulate);

#endif
