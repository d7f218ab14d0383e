#include "tools/plan_search.h"

#include <math.h>
#include <stdlib.h>

#include "tools/plan_from.h"
#include "train/model/cost.h"

typedef struct {
    step_plan step;
    double memory, least_s_per_token; /* of a device: what its GEMMs take alone */
} candidate;

typedef struct {
    candidate *list;
    i64 count, room;
    const plan_request *base;
} candidates;

bool plan_search_fits(const plan_request *base, double memory_bytes) {
    return isnan(base->memory_limit) || memory_bytes <= base->memory_limit;
}

/* --- which configurations there are --- */

static status add(candidates *c, const step_plan *step, double flops_per_s) {
    size_t memory[MEM_CATEGORIES];
    if (c->count == c->room) {
        i64 room = c->room ? 2 * c->room : 256;
        candidate *list = realloc(c->list, (size_t)room * sizeof *list);
        if (!list) FAIL(MEM, "no memory for %ld configurations", room);
        c->list = list, c->room = room;
    }
    status_code st = plan_step_memory(memory, step, &c->base->m);
    if (st == STATUS_ARG) return STATUS_OK; /* a micro-batch that is larger than any memory */
    TRY(st);
    flop_counter f = cost_training_flops(&step->c, step->s.recompute, 1, step->s.T);
    candidate *new = &c->list[c->count++];
    *new = (candidate){.step = *step,
                       .least_s_per_token = (double)meter_flops_executed(&f) / (double)step->s.T / flops_per_s};
    if (c->base->from) new->least_s_per_token = 0; /* the speed of its work is its own */
    for (int i = 0; i < MEM_CATEGORIES; i++) new->memory += (double)memory[i];
    return STATUS_OK;
}

static status add_micro_batches(candidates *c, step_plan step, double flops_per_s) {
    i64 sequences = c->base->step.s.B * c->base->step.micro_batches;
    for (i64 B = 1; B <= sequences; B++) {
        if (sequences % B) continue;
        step.s.B = B;
        step.micro_batches = sequences / B;
        TRY(add(c, &step, flops_per_s));
    }
    return STATUS_OK;
}

enum { EIGHTHS = 8 };

static status add_recompute(candidates *c, step_plan step, plan_search_kept kept, double flops_per_s) {
    i64 L = step.c.L, last = 0;
    if (kept.recompute) return add_micro_batches(c, step, flops_per_s);
    step.s.recompute = (recompute_policy){RECOMPUTE_NONE, 0};
    TRY(add_micro_batches(c, step, flops_per_s));
    step.s.recompute = (recompute_policy){RECOMPUTE_SELECTIVE, L};
    TRY(add_micro_batches(c, step, flops_per_s));
    for (int i = 1; i <= EIGHTHS; i++) {
        i64 blocks = (L * i + EIGHTHS - 1) / EIGHTHS;
        if (blocks == last) continue;
        step.s.recompute = (recompute_policy){RECOMPUTE_BLOCK, last = blocks};
        TRY(add_micro_batches(c, step, flops_per_s));
    }
    return STATUS_OK;
}

static status add_moments(candidates *c, step_plan step, plan_search_kept kept, double flops_per_s) {
    TRY(add_recompute(c, step, kept, flops_per_s));
    if (kept.moments) return STATUS_OK;
    step.o.moments = step.o.moments == F32 ? BF16 : F32;
    return add_recompute(c, step, kept, flops_per_s);
}

static bool straddles_nodes(int group, int per_node) {
    return group < per_node ? per_node % group != 0 : group % per_node != 0;
}

static status add_all(candidates *c, plan_search_kept kept, double flops_per_s) {
    const step_plan *base = &c->base->step;
    int ranks = base->o.shard.ranks;
    for (int stage = SHARD_NONE; stage <= SHARD_FULL; stage++)
        for (int replicas = 1; replicas <= ranks; replicas++) {
            step_plan step = *base;
            bool sharded = stage != SHARD_NONE, one = replicas == 1;
            step.o.shard.stage = (shard_stage)stage;
            step.o.shard.replicas = replicas;
            if (kept.stage && step.o.shard.stage != base->o.shard.stage) continue;
            if (!kept.stage && ranks == 1 && sharded) continue; /* there the stages are the same */
            if (!sharded && !one) continue;
            if (sharded && kept.replicas && replicas != (base->o.shard.replicas ? base->o.shard.replicas : 1)) continue;
            if (sharded && !one && (ranks % replicas || ranks == replicas)) continue; /* groups of one: as none */
            if (sharded && straddles_nodes(ranks / replicas, c->base->m.net.per_node)) continue;
            TRY(add_moments(c, step, kept, flops_per_s));
        }
    return STATUS_OK;
}

/* --- the frontier --- */

static int by_memory(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->memory != y->memory) return x->memory < y->memory ? -1 : 1;
    return (x->least_s_per_token > y->least_s_per_token) - (x->least_s_per_token < y->least_s_per_token);
}

static status find_frontier(plan_search_result *r, const candidates *c, double flops_per_s) {
    double best = INFINITY, last = -1; /* memory of the last of the frontier */
    plan_request request = *c->base;
    request.m.flops = flops_per_s;
    request.tokens_per_s = request.mfu = NAN;
    r->frontier = malloc((size_t)c->count * sizeof *r->frontier);
    if (!r->frontier) FAIL(MEM, "no memory for %ld configurations", c->count);
    for (i64 i = 0; i < c->count; i++) {
        const candidate *from = &c->list[i];
        bool fits = plan_search_fits(c->base, from->memory);
        r->fitting += fits;
        if (from->least_s_per_token >= best) continue;
        plan_search_point point = {.step = from->step};
        request.step = from->step;
        TRY(plan_from_speed(&request));
        TRY(plan_make(&point.p, &request));
        r->simulated++;
        point.device_s_per_token = from->step.o.shard.ranks / point.p.tokens_per_s;
        if (!isnan(point.p.goodput)) point.device_s_per_token /= point.p.goodput;
        if (point.device_s_per_token >= best) continue;
        best = point.device_s_per_token;
        if (point.p.memory_bytes == last) r->count--;
        last = point.p.memory_bytes;
        if (fits) r->cheapest = r->count;
        r->frontier[r->count++] = point;
    }
    return STATUS_OK;
}

status plan_search_run(plan_search_result *r, const plan_request *base, plan_search_kept kept) {
    plan p;
    candidates c = {.base = base};
    *r = (plan_search_result){.cheapest = -1};
    plan_request request = *base;
    TRY(plan_from_speed(&request));
    TRY(plan_make(&p, &request));
    r->gemm_flops_per_s = p.gemm_flops_per_s;
    if (isnan(p.gemm_flops_per_s))
        FAIL(ARG,
             "the given rate is faster than the links and the memory allow; expected a rate that the step can reach");
    status_code st = add_all(&c, kept, p.gemm_flops_per_s);
    r->configurations = c.count;
    if (!st && !c.count)
        st = ERROR(ARG, "no configuration is possible: expected another --shard, --replicas or --batch");
    if (!st) {
        qsort(c.list, (size_t)c.count, sizeof *c.list, by_memory);
        st = find_frontier(r, &c, p.gemm_flops_per_s);
    }
    free(c.list);
    return st;
}

void plan_search_free(plan_search_result *r) {
    free(r->frontier);
    *r = (plan_search_result){.cheapest = -1};
}
