#include <math.h>

#include "runtime/kernel.cuh"

extern "C" {
#include "optim/verdict.h"
}

static __global__ void clip_decide_kernel(step_verdict *v, const step_sums *sums, int ranks, verdict_args a) {
    double nats = 0, squares = 0;
    for (int r = 0; r < ranks; r++) nats += sums[r].nats, squares += sums[r].squares;
    v->loss = nats / a.tokens;
    v->grad_norm = sqrt(squares);
    v->skipped = !isfinite(v->loss) || !isfinite(v->grad_norm);
    if (v->skipped) return;
    v->updates++;
    v->grad_scale = a.clip > 0 && v->grad_norm > a.clip ? (float)(a.clip / v->grad_norm) : 1.0f;
    v->m_correction = (float)(1 / (1 - pow(a.beta1, (double)v->updates)));
    v->v_correction = (float)(1 / (1 - pow(a.beta2, (double)v->updates)));
}

extern "C" status verdict_decide_cuda(device *dev, step_verdict *v, const step_sums *sums, int ranks, verdict_args a) {
    RUN(dev, clip_decide_kernel, 1, 1, 0, v, sums, ranks, a);
    return STATUS_OK;
}
