#include "tools/plan_from.h"

#include <math.h>
#include <string.h>

static bool same_model(const model_config *a, const model_config *b) {
    return a->L == b->L && a->C == b->C && a->H == b->H && a->K == b->K && a->D == b->D && a->F == b->F &&
           a->V == b->V && a->swiglu == b->swiglu && a->window == b->window &&
           model_config_parameters(a) == model_config_parameters(b);
}

static bool same_shapes(const step_plan *s, const calibration *c) {
    return c->ranks == s->o.shard.ranks && c->batch == s->s.B && c->seq_len == s->s.T &&
           c->micro_batches == s->micro_batches && strcmp(c->precision, dtype_name(s->o.t)) == 0 &&
           (c->ranks == 1 || strcmp(c->shard, fsdp_stage_name(s->o.shard.stage)) == 0);
}

static status same_step(bool *same, const step_plan *s, const calibration *c) {
    model_config own;
    recompute_policy recompute;
    *same = false;
    if (!same_shapes(s, c)) return STATUS_OK;
    TRY(model_config_load(&own, c->model));
    TRY(recompute_parse(&recompute, c->recompute, own.L));
    *same =
        same_model(&own, &s->c) && recompute.kind == s->s.recompute.kind && recompute.blocks == s->s.recompute.blocks;
    return STATUS_OK;
}

status plan_from_speed(plan_request *r, bool *measured, const calibration *c) {
    TRY(same_step(measured, &r->step, c));
    r->mfu = NAN;
    r->tokens_per_s = *measured ? c->tokens_per_s : NAN;
    r->m.flops = c->flops_executed_per_s / (double)c->ranks;
    r->m.memory = INFINITY;
    return STATUS_OK;
}
