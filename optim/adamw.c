#include "optim/adamw.h"

#include <math.h>

#include "runtime/rng.h"
#include "runtime/simd.h"

typedef struct {
    float lr, beta1, beta2, eps, decay, grad_scale;
    float m_correction, v_correction; /* 1/(1 - beta^step) */
} constants;

/* Rounds n values to bf16, up with a probability proportional to the distance from the lower neighbour. Elements come in groups
 * of 8 by global index: element i takes 16-bit lane i % 8 of Philox(seed, i / 8, stream), whatever shard or chunk it is in. */
SIMD_INLINE void store_stochastic(void *restrict y, const float *restrict x, i64 n, uint64_t seed, uint64_t first,
                                  uint64_t stream) {
    union {
        uint32_t words[4 * (SIMD_CHUNK / 8 + 1)];
        uint16_t lanes[8 * (SIMD_CHUNK / 8 + 1)];
    } random;
    i64 skip = (i64)(first % 8), groups = (skip + n + 7) / 8;
    for (i64 k = 0; k < groups; k++) {
        philox_block b = philox(seed, first / 8 + (uint64_t)k, stream);
        for (int w = 0; w < 4; w++) random.words[4 * k + w] = b.v[w];
    }
    bf16 *restrict out = y;
    const uint16_t *restrict lanes = random.lanes + skip;
    for (i64 i = 0; i < n; i++) out[i] = simd_bf16_by_adding(x[i], lanes[i]);
}

SIMD_INLINE void update(float *restrict w, float *restrict m, float *restrict v, const float *restrict g, i64 n,
                        const constants *c) {
    const constants k = *c;
    for (i64 i = 0; i < n; i++) {
        float gi = g[i] * k.grad_scale;
        float mi = k.beta1 * m[i] + (1.0f - k.beta1) * gi;
        float vi = k.beta2 * v[i] + (1.0f - k.beta2) * (gi * gi);
        m[i] = mi;
        v[i] = vi;
        w[i] -= k.lr * (mi * k.m_correction / (sqrtf(vi * k.v_correction) + k.eps) + k.decay * w[i]);
    }
}

/* Elements [i, i + n). f32 tensors are updated in place; bf16 tensors are widened, updated and rounded. */
SIMD_CLONES static void step_chunk(const adamw_piece *p, i64 i, i64 n, const constants *c, const adamw_args *a,
                                   uint64_t step) {
    float wide_w[SIMD_CHUNK], wide_m[SIMD_CHUNK], wide_v[SIMD_CHUNK], *master = p->master ? p->master + i : NULL;
    void *weights = tensor_at(p->weights, p->t, i), *m = tensor_at(p->m, p->moments, i),
         *v = tensor_at(p->v, p->moments, i);
    const uint64_t seed = a->seed, first = a->first + (uint64_t)i;
    bool stochastic = !master && p->t == BF16, wide = p->moments == BF16;
    if (stochastic) simd_load_f32(wide_w, weights, BF16, n);
    if (wide) {
        simd_load_f32(wide_m, m, BF16, n);
        simd_load_f32(wide_v, v, BF16, n);
    }
    float *w = master ? master : stochastic ? wide_w : weights;
    update(w, wide ? wide_m : m, wide ? wide_v : v, p->grads + i, n, c);
    if (master) simd_store_f32(weights, master, p->t, n);
    if (stochastic) store_stochastic(weights, wide_w, n, seed, first, philox_round_stream(step, ROUND_WEIGHT));
    if (wide) {
        store_stochastic(m, wide_m, n, seed, first, philox_round_stream(step, ROUND_M));
        store_stochastic(v, wide_v, n, seed, first, philox_round_stream(step, ROUND_V));
    }
}

status adamw_step_cpu(device *dev, const adamw_piece *p, adamw_args a, const step_verdict *verdict) {
    (void)dev;
    if (verdict->skipped) return STATUS_OK;
    constants c = {.lr = a.lr,
                   .beta1 = a.beta1,
                   .beta2 = a.beta2,
                   .eps = a.eps,
                   .decay = a.decay,
                   .grad_scale = verdict->grad_scale,
                   .m_correction = verdict->m_correction,
                   .v_correction = verdict->v_correction};
#pragma omp parallel for schedule(static)
    for (i64 i = 0; i < p->n; i += SIMD_CHUNK) step_chunk(p, i, simd_chunk(p->n - i), &c, &a, verdict->updates);
    return STATUS_OK;
}

status adamw_step(device *dev, const adamw_piece *p, adamw_args a, const step_verdict *verdict) {
    if (p->n < 1) FAIL(ARG, "adamw: %ld elements, expected at least 1", p->n);
    if (!(a.beta1 >= 0 && a.beta1 < 1 && a.beta2 >= 0 && a.beta2 < 1))
        FAIL(ARG, "adamw: betas %g and %g, expected 0 <= beta < 1", (double)a.beta1, (double)a.beta2);
    if (!(a.eps > 0)) FAIL(ARG, "adamw: eps %g, expected more than 0", (double)a.eps);
    return DISPATCH(dev, adamw_step, p, a, verdict);
}
