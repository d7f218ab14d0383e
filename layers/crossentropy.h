/* Softmax cross-entropy of rows of logits, and its gradient in the same pass.
 *
 *   losses[n] = log sum_v exp(logits[n,v]) - logits[n,target[n]]          nats, f32
 *   dlogits[n,v] = (softmax(logits[n])[v] - [v == target[n]]) * scale     of dtype t; NULL: loss only
 *
 *   logits [N,V]   targets [N] i32 in [0,V), or -1: the row is not counted, its loss and gradient are 0
 *   logits and dlogits have a row stride of ld >= V elements; elements after V are neither read nor written. dlogits may be
 *   the logits if both have the same dtype. Computed in f32.
 * A logit of a counted row that is not finite makes the row's loss NaN or inf. This holds for -inf too: it comes from an
 * overflow and would otherwise count as a probability of 0. Rows are independent and sums have a fixed order: bitwise
 * repeatable.
 * The CPU checks the targets. For CUDA the host must check them before the upload; a target out of range gives a loss of NaN
 * and a gradient of 0.
 * Bytes: logits once and dlogits once, if the row is still in cache when it is read again. On CUDA the rows in flight must
 * fit in L2: two per multiprocessor for rows up to 160 KiB, else one. At V = 151936 an H100 has 40 MB in flight in bf16,
 * which fit in its 50 MB, but 80 MB in f32; it then reads the logits twice.
 *
 * crossentropy_sum_losses: sum = or += (accumulate) the losses, in f64 and in a fixed order; sum lies in the device's memory. */
#ifndef TALLY_CROSSENTROPY_H
#define TALLY_CROSSENTROPY_H

#include "runtime/device.h"

typedef struct {
    const void *x; /* the logits */
    dtype t;       /* of the logits: f32, or bf16 if dlogits are bf16 */
    i64 N, V, ld;
} crossentropy_logits;

status crossentropy_forward_backward(device *dev, dtype t, void *dlogits, float *losses, const crossentropy_logits *l,
                                     const int32_t *targets, float scale);
HALVES(crossentropy_forward_backward);
status crossentropy_sum_losses(device *dev, double *sum, const float *losses, i64 N, bool accumulate);
HALVES(crossentropy_sum_losses);

#endif
