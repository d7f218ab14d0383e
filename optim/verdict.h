/* What becomes of a step, decided where its sums are, so that the computation need not wait for the host to see them.
 *
 *   loss = sum_ranks nats / tokens      grad_norm = sqrt(sum_ranks squares)      f64, in the order of ranks
 *   skipped: one of them is not finite; else updates += 1 and
 *   grad_scale = clip / grad_norm where clip > 0 and grad_norm is above it, else 1
 *   m_correction = 1/(1 - beta1^updates), v_correction = 1/(1 - beta2^updates)
 *
 *   v, sums [ranks]: in the device's memory (on the CPU that is the host's); v->updates is read and written
 * One thread: it costs a launch. */
#ifndef TALLY_VERDICT_H
#define TALLY_VERDICT_H

#include "runtime/device.h"

typedef struct {
    double nats, squares; /* of one rank: losses of its tokens, gradients of its pieces */
} step_sums;

typedef struct {
    double loss, grad_norm;
    uint64_t updates; /* optimizer steps taken, this one included */
    float grad_scale, m_correction, v_correction;
    int32_t skipped;
} step_verdict;

typedef struct {
    double tokens, clip, beta1, beta2; /* tokens: of the step, all ranks */
} verdict_args;

status verdict_decide(device *dev, step_verdict *v, const step_sums *sums, int ranks, verdict_args a);
HALVES(verdict_decide);

#endif
