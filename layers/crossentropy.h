/* Softmax cross-entropy of rows of logits, and its gradient in the same pass.
 *
 *   losses[n] = log sum_v exp(logits[n,v]) - logits[n,target[n]]          nats, f32
 *   dlogits[n,v] = (softmax(logits[n])[v] - [v == target[n]]) * scale     of dtype t; NULL: loss only
 *
 *   logits [N,V]   targets [N] i32 in [0,V), or -1: that row is not counted, loss and gradient 0. Row stride of logits and
 *   dlogits: ld >= V elements; what lies behind V is neither read nor written. dlogits may be the logits where both have
 *   one dtype. In f32 inside.
 * A logit of a counted row that is not finite makes the loss of that row NaN or inf, -inf included: it is an overflow,
 * and would else pass as a probability of 0. Each row on its own, sums in a fixed order: bitwise repeatable.
 * The CPU checks the targets. On CUDA they are for the host to check before they are uploaded; there a target out of range
 * gives a loss of NaN and a gradient of 0.
 * Bytes: logits once and dlogits once, where the second sweep finds the row in cache. That is CUDA's L2, where the rows
 * under way, two a multiprocessor up to 160 KiB and one beyond, are less than it: of V = 151936 an H100 has 40 MB in
 * bf16, of 50, but 80 MB in f32, and then reads the logits twice.
 *
 * crossentropy_sum_losses: sum = or += (accumulate) the losses, in f64 and in a fixed order; sum in the device's memory. */
#ifndef TALLY_CROSSENTROPY_H
#define TALLY_CROSSENTROPY_H

#include "runtime/device.h"

typedef struct {
    const void *x; /* the logits */
    dtype t;       /* of them: f32, or bf16 where dlogits are bf16 */
    i64 N, V, ld;
} crossentropy_logits;

status crossentropy_forward_backward(device *dev, dtype t, void *dlogits, float *losses, const crossentropy_logits *l,
                                     const int32_t *targets, float scale);
HALVES(crossentropy_forward_backward);
status crossentropy_sum_losses(device *dev, double *sum, const float *losses, i64 N, bool accumulate);
HALVES(crossentropy_sum_losses);

#endif
