#include "train/state.h"

#include <stdlib.h>

#include "runtime/gemm.h"
#include "runtime/rng.h"

status state_init(state *s, device *dev, const model_config *c, state_options o) {
    *s = (state){.dev = dev, .o = o};
    if (o.t == F32) s->o.master = false;
    return params_init(&s->p, c, 1);
}

void state_layout(state *s, arena *a) {
    size_t n = (size_t)s->p.size;
    s->weights = arena_take(a, MEM_WEIGHTS, n * dtype_bytes(s->o.t));
    if (!s->o.training) return;
    s->master = arena_take(a, MEM_MASTER, s->o.master ? n * 4 : 0);
    s->grads = arena_take(a, MEM_GRADIENTS, n * 4);
    s->m = arena_take(a, MEM_MOMENTS, n * dtype_bytes(s->o.moments));
    s->v = arena_take(a, MEM_MOMENTS, n * dtype_bytes(s->o.moments));
}

status state_randomize(state *s, uint64_t seed) {
    i64 largest = 0;
    for (int i = 0; i < s->p.count; i++) {
        i64 n = s->p.list[i].rows * s->p.list[i].cols;
        if (n > largest) largest = n;
    }
    float *values = malloc((size_t)largest * 4);
    bf16 *rounded = malloc((size_t)largest * 2);
    status_code st = STATUS_OK;
    if (!values || !rounded) FAIL_DONE(MEM, "initial values: %ld elements", largest);
    for (int i = 0; i < s->p.count; i++) {
        const param *p = &s->p.list[i];
        i64 n = p->rows * p->cols;
        if (p->init_std > 0) rng_normal(values, n, p->init_std, seed, RNG_INIT, (uint64_t)p->offset);
        else
            for (i64 j = 0; j < n; j++) values[j] = p->init_value;
        for (i64 j = 0; j < n; j++) rounded[j] = bf16_from_f32(values[j]);
        const void *w = s->o.t == F32 ? (const void *)values : rounded;
        TRY_DONE(s->dev->ops->copy(s->dev, at(s->weights, s->o.t, p->offset), w, (size_t)n * dtype_bytes(s->o.t)));
        if (s->master) TRY_DONE(s->dev->ops->copy(s->dev, s->master + p->offset, values, (size_t)n * 4));
    }
    gemm_weights_changed(s->dev);
done:
    free(values);
    free(rounded);
    return st;
}

unit_views state_views(const state *s, int u) {
    unit_views views = {0};
    for (int kind = 0; kind < P_KINDS; kind++) {
        const param *p = params_find(&s->p, u, kind);
        if (!p) continue;
        views.w[kind] = at(s->weights, s->o.t, p->offset);
        if (s->grads) views.dw[kind] = s->grads + p->offset;
    }
    return views;
}

void state_free(state *s) {
    params_free(&s->p);
    *s = (state){0};
}
