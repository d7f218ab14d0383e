/* Decides on the device whether a step's update is made and how it is scaled, so that the device does not wait for the host.
 *
 *   loss = sum_ranks nats / tokens      grad_norm = sqrt(sum_ranks squares)      f64, in the order of ranks
 *   skipped = 1 if one of them is not finite; otherwise skipped = 0, updates += 1 and
 *   grad_scale = clip / grad_norm if clip > 0 and grad_norm > clip, else 1
 *   m_correction = 1/(1 - beta1^updates), v_correction = 1/(1 - beta2^updates)
 *
 *   v, sums [ranks]: in the device's memory; v->updates is read and written
 * One thread: its cost is a launch. */
#ifndef TALLY_VERDICT_H
#define TALLY_VERDICT_H

#include "runtime/device.h"

typedef struct {
    double nats, squares; /* of one rank: sum of its tokens' losses, of its pieces' squared gradients */
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
