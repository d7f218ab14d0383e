#include "optim/verdict.h"

#include <math.h>

status verdict_decide_cpu(device *dev, step_verdict *v, const step_sums *sums, int ranks, verdict_args a) {
    (void)dev;
    double nats = 0, squares = 0;
    for (int r = 0; r < ranks; r++) nats += sums[r].nats, squares += sums[r].squares;
    v->loss = nats / a.tokens;
    v->grad_norm = sqrt(squares);
    v->skipped = !isfinite(v->loss) || !isfinite(v->grad_norm);
    if (v->skipped) return STATUS_OK;
    v->updates++;
    v->grad_scale = a.clip > 0 && v->grad_norm > a.clip ? (float)(a.clip / v->grad_norm) : 1;
    v->m_correction = (float)(1 / (1 - pow(a.beta1, (double)v->updates)));
    v->v_correction = (float)(1 / (1 - pow(a.beta2, (double)v->updates)));
    return STATUS_OK;
}

status verdict_decide(device *dev, step_verdict *v, const step_sums *sums, int ranks, verdict_args a) {
    if (ranks < 1 || !(a.tokens > 0)) FAIL(ARG, "verdict: %d ranks, %g tokens, expected at least 1", ranks, a.tokens);
    if (!(a.beta1 >= 0 && a.beta1 < 1 && a.beta2 >= 0 && a.beta2 < 1))
        FAIL(ARG, "verdict: betas %g and %g, expected 0 <= beta < 1", a.beta1, a.beta2);
    return DISPATCH(dev, verdict_decide, v, sums, ranks, a);
}
