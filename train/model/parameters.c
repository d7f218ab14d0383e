#include "train/model/parameters.h"

#include <stdlib.h>

#include "runtime/rng.h"

enum { CHUNK = 1 << 17 }; /* elements copied through host memory at a time */

status parameters_init(parameters *s, device *dev, const model_config *c, parameters_options o) {
    *s = (parameters){.dev = dev, .o = o};
    if (o.t == F32) s->o.master = false;
    else s->o.shard.gather_bf16 = false; /* bf16 weights need no conversion */
    int pieces;
    TRY(fsdp_pieces(&pieces, &o.shard));
    TRY(param_table_init(&s->p, c, pieces));
    status_code st = fsdp_init(&s->f, dev, s->p.units, s->p.unit_count, c->tied, o.training, o.t, s->o.shard);
    if (st) param_table_free(&s->p);
    return st;
}

void parameters_layout(parameters *s, arena *a) {
    fsdp_layout(&s->f, a);
    s->weights = s->f.weights;
    s->grads = s->f.grads;
    if (!s->o.training) return;
    size_t n = (size_t)(s->p.size / s->f.pieces);
    s->master = arena_take(a, MEM_MASTER, s->o.master ? n * 4 : 0);
    s->m = arena_take(a, MEM_MOMENTS, n * dtype_bytes(s->o.moments));
    s->v = arena_take(a, MEM_MOMENTS, n * dtype_bytes(s->o.moments));
}

void parameters_free(parameters *s) {
    fsdp_free(&s->f);
    param_table_free(&s->p);
    *s = (parameters){0};
}

/* --- what this rank owns --- */

owned_part parameters_owned(const parameters *s, const param *p) {
    fsdp_piece piece = fsdp_piece_of(&s->f, p->unit);
    i64 start = p->offset - s->p.units[p->unit].offset, end = start + p->rows * p->cols; /* in the unit */
    i64 from = start > piece.first ? start : piece.first, piece_end = piece.first + piece.count;
    i64 to = end < piece_end ? end : piece_end, skip = from - piece.first;
    if (to <= from) return (owned_part){0};
    return (owned_part){.first = from - start,
                        .count = to - from,
                        .at = piece.at + skip,
                        .weights = tensor_at(piece.weights, s->o.t, skip),
                        .grads = piece.grads ? piece.grads + skip : NULL};
}

owned_part parameters_saved(const parameters *s, const param *p) {
    owned_part all = parameters_owned(s, p), mine = all;
    const comm *same = s->f.replicas;
    if (!same || !all.count) return all;
    i64 share = (all.count + same->ranks - 1) / same->ranks, skip = share * same->rank;
    if (skip >= all.count) return (owned_part){0};
    mine.first += skip;
    mine.at += skip;
    mine.count = all.count - skip < share ? all.count - skip : share;
    mine.weights = tensor_at(all.weights, s->o.t, skip);
    if (mine.grads) mine.grads += skip;
    return mine;
}

status parameters_set(const parameters *s, const owned_part *part, i64 at, const float *values, bf16 *rounded, i64 n) {
    for (i64 i = 0; i < n; i++) rounded[i] = bf16_from_f32(values[i]);
    const void *w = s->o.t == F32 ? (const void *)values : rounded;
    TRY(s->dev->ops->copy(s->dev, tensor_at(part->weights, s->o.t, at), w, (size_t)n * dtype_bytes(s->o.t)));
    return s->master ? s->dev->ops->copy(s->dev, s->master + part->at + at, values, (size_t)n * 4) : STATUS_OK;
}

void parameters_weights_changed(parameters *s) { fsdp_weights_changed(&s->f); }

/* --- initial values --- */

static status fill(parameters *s, const param *p, owned_part part, float *values, bf16 *rounded, uint64_t seed) {
    for (i64 from = 0; from < part.count; from += CHUNK) {
        i64 n = part.count - from < CHUNK ? part.count - from : CHUNK;
        uint64_t pair = (uint64_t)(p->serial + (part.first + from) / 2);
        if (p->init_std > 0) rng_normal(values, n, p->init_std, seed, RNG_INIT, pair);
        else
            for (i64 j = 0; j < n; j++) values[j] = p->init_value;
        TRY(parameters_set(s, &part, from, values, rounded, n));
    }
    return STATUS_OK;
}

status parameters_randomize(parameters *s, uint64_t seed) {
    float *values = malloc(CHUNK * sizeof *values);
    bf16 *rounded = malloc(CHUNK * sizeof *rounded);
    status_code st = STATUS_OK;
    if (!values || !rounded) FAIL_DONE(MEM, "no memory for %d initial values", CHUNK);
    for (int i = 0; i < s->p.count; i++)
        TRY_DONE(fill(s, &s->p.list[i], parameters_owned(s, &s->p.list[i]), values, rounded, seed));
    parameters_weights_changed(s);
done:
    free(values);
    free(rounded);
    return st;
}

/* --- views --- */

static unit_views views_of(const parameters *s, int u, const void *w, float *dw) {
    unit_views views = {0};
    i64 unit_offset = s->p.units[u].offset;
    for (int kind = 0; kind < P_KINDS; kind++) {
        const param *p = param_table_find(&s->p, u, kind);
        if (!p) continue;
        if (w) views.w[kind] = tensor_at(w, s->o.t, p->offset - unit_offset);
        if (dw) views.dw[kind] = dw + (p->offset - unit_offset);
    }
    return views;
}

unit_views parameters_views(const parameters *s, int u) {
    i64 offset = s->p.units[u].offset;
    return views_of(s, u, tensor_at(s->weights, s->o.t, offset), s->grads ? s->grads + offset : NULL);
}

status parameters_enter(parameters *s, unit_views *v, int u, pass p) {
    const void *w;
    TRY(fsdp_enter(&s->f, u, p, &w));
    *v = views_of(s, u, w, NULL);
    return STATUS_OK;
}

status parameters_leave(parameters *s, int u) { return fsdp_leave(&s->f, u); }

status parameters_gradients(parameters *s, unit_views *v, int u, bool *accumulate) {
    float *dw;
    TRY(fsdp_gradients(&s->f, u, &dw, accumulate));
    unit_views gradients = views_of(s, u, NULL, dw);
    memcpy(v->dw, gradients.dw, sizeof v->dw);
    return STATUS_OK;
}

status parameters_whole(parameters *s, int u, unit_views *v) {
    const void *w;
    TRY(fsdp_whole(&s->f, u, &w));
    *v = views_of(s, u, w, NULL);
    return STATUS_OK;
}

void parameters_whole_end(parameters *s) { fsdp_whole_end(&s->f); }
