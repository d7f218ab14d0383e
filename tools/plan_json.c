#include "tools/plan_json.h"

#include <math.h>

#include "tools/command.h"

typedef struct {
    const char *key;
    double value;
} number;

static status add_numbers(json_t *o, const number *list, size_t count) {
    if (!o) FAIL(MEM, "no memory for the result");
    for (size_t i = 0; i < count; i++) TRY(json_add_number_or_null(o, list[i].key, list[i].value));
    return STATUS_OK;
}
#define ADD_NUMBERS(o, ...) add_numbers(o, (number[]){__VA_ARGS__}, sizeof((number[]){__VA_ARGS__}) / sizeof(number))

/* --- one plan --- */

static status add_shape(json_t *o, const plan_request *r) {
    const step_plan *s = &r->step;
    TRY(json_add_i64(o, "devices", s->o.shard.ranks));
    TRY(json_add_string(o, "shard", fsdp_stage_name(s->o.shard.stage)));
    TRY(json_add_i64(o, "replicas", s->o.shard.replicas));
    TRY(json_add_i64(o, "batch", s->s.B));
    TRY(json_add_i64(o, "seq_len", s->s.T));
    TRY(json_add_i64(o, "accumulate", s->micro_batches));
    TRY(json_add_string(o, "precision", dtype_name(s->o.t)));
    return json_add_string(o, "moments", dtype_name(s->o.moments));
}

static status add_memory(json_t *o, const plan_request *r, const plan *p) {
    json_t *memory = json_add_object(o, "memory");
    if (!memory) FAIL(MEM, "no memory for the result");
    for (int i = 0; i < MEM_CATEGORIES; i++)
        TRY(json_add_u64(memory, arena_category_name((mem_category)i), p->step.memory[i]));
    TRY(ADD_NUMBERS(o, {"memory_bytes", p->memory_bytes}, {"memory_limit_bytes", r->memory_limit},
                    {"spare_bytes", p->spare_bytes}));
    if (isnan(p->spare_bytes)) return json_add_number_or_null(o, "fits", NAN);
    return json_add_bool(o, "fits", p->spare_bytes >= 0);
}

static status add_step(json_t *o, const plan *p) {
    TRY(ADD_NUMBERS(o, {"step_ms", p->step_s.total * 1e3}, {"useful_ms", p->step_s.useful * 1e3},
                    {"recompute_ms", p->step_s.recompute * 1e3},
                    {"exposed_communication_ms", p->step_s.communication * 1e3},
                    {"communication_ms", (double)p->step.communication_ns * 1e-6}));
    TRY(json_add_u64(o, "bytes_sent", p->step.bytes_sent));
    TRY(json_add_i64(o, "tokens_per_step", p->tokens_per_step));
    return ADD_NUMBERS(o, {"tokens_per_s", p->tokens_per_s}, {"gemm_flops_per_s", p->gemm_flops_per_s},
                       {"mfu", p->mfu[PLAN_EXACT]}, {"mfu_palm", p->mfu[PLAN_PALM]}, {"mfu_6n", p->mfu[PLAN_6N]},
                       {"hfu", p->hfu}, {"usd_per_mtok", p->usd_per_mtok});
}

static status add_run(json_t *o, const plan_request *r, const plan *p) {
    TRY(r->tokens ? json_add_i64(o, "tokens", r->tokens) : json_add_number_or_null(o, "tokens", NAN));
    TRY(ADD_NUMBERS(o, {"steps", p->steps}, {"run_s", p->run_s}, {"wall_s", p->wall_s},
                    {"device_hours", p->device_hours}, {"goodput", p->goodput},
                    {"checkpoint_every_s", p->checkpoint_every_s}, {"flops", p->flops[PLAN_EXACT]},
                    {"flops_palm", p->flops[PLAN_PALM]}, {"flops_6n", p->flops[PLAN_6N]}, {"usd", p->usd.total}));
    TRY(ADD_NUMBERS(o, {"usd_per_device_hour", r->usd_per_device_hour}));
    TRY(ADD_NUMBERS(json_add_object(o, "usd_parts"), {"useful", p->usd.useful}, {"recompute", p->usd.recompute},
                    {"exposed_communication", p->usd.communication}, {"failures", p->usd.failures}));
    TRY(ADD_NUMBERS(o, {"energy_j", p->kwh_devices * 3.6e6})); /* as a run counts it: train/bill/run_plan.h */
    TRY(ADD_NUMBERS(json_add_object(o, "kwh"), {"devices", p->kwh_devices}, {"host", p->kwh_host},
                    {"overhead", p->kwh_overhead}, {"total", p->kwh}));
    return ADD_NUMBERS(o, {"kg_co2", p->kg_co2});
}

static status add_plan(json_t *o, const plan_request *r, const plan *p) {
    TRY(add_shape(o, r));
    TRY(add_step(o, p));
    TRY(add_memory(o, r, p));
    return add_run(o, r, p);
}

/* --- all of them --- */

static status add_fact(json_t *o, const char *key, const plan_fact *f) {
    json_t *fact = json_add_object(o, key);
    TRY(ADD_NUMBERS(fact, {"value", f->value}));
    return f->source ? json_add_string(fact, "source", f->source) : json_add_number_or_null(fact, "source", NAN);
}

static status add_assumed(json_t *o, const plan_setting *s) {
    const plan_request *r = &s->base;
    if (!o) FAIL(MEM, "no memory for the result");
    TRY(json_add_string(o, "device", s->device));
    TRY(json_add_i64(o, "gpus_per_node", r->m.net.per_node));
    TRY(json_add_bool(o, "overlap", !r->m.blocking));
    TRY(add_fact(o, "peak_flops_per_s", &s->peak));
    TRY(add_fact(o, "memory_bytes_per_s", &s->bandwidth));
    TRY(add_fact(o, "memory_limit_bytes", &s->limit));
    TRY(add_fact(o, "usd_per_device_hour", &s->price));
    TRY(add_fact(o, "device_watts", &s->watts));
    if (s->from) TRY(json_add_string(o, "from", s->from_run));
    if (r->speed) TRY(json_add_string(o, "speed", r->speed));
    return ADD_NUMBERS(o, {"efficiency", s->efficiency}, {"given_mfu", r->mfu}, {"given_tokens_per_s", r->tokens_per_s},
                       {"node_bytes_per_s", r->m.net.inside.bandwidth}, {"node_latency_s", r->m.net.inside.latency},
                       {"network_bytes_per_s", r->m.net.between.bandwidth},
                       {"network_latency_s", r->m.net.between.latency}, {"host_watts", r->host_watts}, {"pue", r->pue},
                       {"kg_co2_per_kwh", r->kg_co2_per_kwh}, {"device_mtbf_hours", r->device_mtbf_hours},
                       {"checkpoint_s", r->checkpoint_s}, {"restart_s", r->restart_s});
}

static status add_model(json_t *o, const plan_list *l, const plan_options *v) {
    const model_config *c = &l->requests[0].step.c;
    const plan *p = &l->plans[0];
    TRY(json_add_string(o, "model", c->name));
    TRY(json_add_i64(o, "parameters", p->parameters));
    TRY(model_config_add_shape(o, c));
    TRY(json_add_string(o, "recompute", v->recompute));
    return ADD_NUMBERS(
        o, {"flops_per_token", p->flops_per_token[PLAN_EXACT]}, {"flops_per_token_palm", p->flops_per_token[PLAN_PALM]},
        {"flops_per_token_6n", p->flops_per_token[PLAN_6N]}, {"executed_flops_per_token", p->executed_per_token});
}

static status fill(json_t *o, const plan_list *l, const plan_setting *s, const plan_options *v) {
    TRY(add_model(o, l, v));
    TRY(add_assumed(json_add_object(o, "assumed"), s));
    json_t *plans = json_add_array(o, "plans");
    for (int i = 0; i < l->count; i++) {
        json_t *item = json_append_object(plans);
        if (!item) FAIL(MEM, "no memory for the result");
        TRY(add_plan(item, &l->requests[i], &l->plans[i]));
    }
    return STATUS_OK;
}

status plan_json_print(const plan_list *l, const plan_setting *s, const plan_options *v) {
    json_t *o = json_object();
    return command_print_json(o, fill(o, l, s, v));
}
