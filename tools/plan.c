#include "tools/plan.h"

#include <math.h>

#include "train/bill/money.h"
#include "train/model/cost.h"

double plan_flops_palm(double N, double layers, double q, double T) { return 6 * N + 12 * layers * q * T; }
double plan_flops_6n(double N) { return 6 * N; }

double plan_utilisation(double flops_per_token, double tokens_per_s, double devices, double peak) {
    return flops_per_token * tokens_per_s / (devices * peak);
}

/* --- FLOPs and time --- */

#define MOST_HFU 1.1 /* of a rate that is given: clocks may exceed those of the datasheet a little */

static void count_flops(plan *p, const plan_request *r) {
    const step_plan *s = &r->step;
    flop_counter f = cost_training_flops(&s->c, s->s.recompute, 1, s->s.T);
    p->parameters = model_config_parameters(&s->c);
    p->flops_per_token[PLAN_EXACT] = (double)meter_flops_model(&f) / (double)s->s.T;
    p->flops_per_token[PLAN_PALM] = cost_flops_per_token_palm(&s->c, s->s.T);
    p->flops_per_token[PLAN_6N] = plan_flops_6n((double)p->parameters);
    p->executed_per_token = (double)meter_flops_executed(&f) / (double)s->s.T;
}

/* The rate of GEMMs at which the simulated step takes `seconds`. *found is false where even infinitely fast GEMMs do not
 * reach it: the links or the memory are slower than what was measured. */
static status solve_rate(plan *p, const plan_request *r, double seconds, bool *found) {
    machine m = r->m;
    double executed = p->executed_per_token * (double)p->tokens_per_step / r->step.o.shard.ranks;
    double slow = executed / seconds, fast = INFINITY; /* at `slow` the GEMMs alone take all of the time */
    m.flops = INFINITY;
    TRY(plan_step_predict(&p->step, &r->step, &m));
    *found = (double)p->step.step_ns * 1e-9 <= seconds;
    for (int i = 0; *found && i < 64 && (isinf(fast) || fast / slow > 1 + 1e-9); i++) {
        m.flops = isinf(fast) ? 2 * slow : sqrt(slow * fast);
        TRY(plan_step_predict(&p->step, &r->step, &m));
        if ((double)p->step.step_ns * 1e-9 > seconds) slow = m.flops;
        else fast = m.flops;
    }
    p->gemm_flops_per_s = *found ? fast : NAN;
    return STATUS_OK;
}

static status find_time(plan *p, const plan_request *r) {
    int devices = r->step.o.shard.ranks;
    bool found = true, given = !isnan(r->tokens_per_s) || !isnan(r->mfu);
    i64 per_device;
    if (__builtin_mul_overflow(r->step.s.B * r->step.s.T, r->step.micro_batches, &per_device) ||
        __builtin_mul_overflow(per_device, (i64)devices, &p->tokens_per_step))
        FAIL(ARG, "tokens of a step: 64 bits do not hold them; expected a smaller batch");
    double tokens = (double)p->tokens_per_step;
    p->tokens_per_s = !isnan(r->mfu) ? r->mfu * r->peak * devices / p->flops_per_token[PLAN_EXACT] : r->tokens_per_s;
    p->gemm_flops_per_s = r->m.flops;
    if (given && isnan(p->tokens_per_s)) FAIL(ARG, "MFU %.4g: the dense peak of the device is not known", r->mfu);
    if (given) TRY(solve_rate(p, r, tokens / p->tokens_per_s, &found));
    else TRY(plan_step_predict(&p->step, &r->step, &r->m));
    plan_parts *s = &p->step_s;
    s->total = given ? tokens / p->tokens_per_s : (double)p->step.step_ns * 1e-9;
    p->tokens_per_s = tokens / s->total;
    double exposed = (double)p->step.exposed_ns / (double)p->step.step_ns;
    s->communication = devices == 1 ? 0 : found ? s->total * exposed : NAN;
    double executed = p->executed_per_token, repeated = executed - p->flops_per_token[PLAN_EXACT];
    s->recompute = repeated > 0 ? (s->total - s->communication) * repeated / executed : 0;
    s->useful = s->total - s->communication - s->recompute;
    s->failures = NAN;
    for (int i = 0; i < PLAN_CONVENTIONS; i++)
        p->mfu[i] = plan_utilisation(p->flops_per_token[i], p->tokens_per_s, devices, r->peak);
    p->hfu = plan_utilisation(p->executed_per_token, p->tokens_per_s, devices, r->peak);
    if (given && p->hfu > MOST_HFU)
        FAIL(ARG,
             "%.4g tokens/s execute %.4g times the FLOPs that the dense peak of %d device%s allows; expected a lower "
             "--rate or --mfu, or another device",
             p->tokens_per_s, p->hfu, devices, devices == 1 ? "" : "s");
    return STATUS_OK;
}

/* --- the run --- */

static void find_goodput(plan *p, const plan_request *r) {
    double M = r->device_mtbf_hours * 3600 / r->step.o.shard.ranks;
    p->checkpoint_every_s = money_best_interval(r->checkpoint_s, M);
    p->goodput = money_goodput(r->checkpoint_s, p->checkpoint_every_s, r->restart_s, M);
}

static void find_run(plan *p, const plan_request *r) {
    double devices = r->step.o.shard.ranks, tokens = r->tokens ? (double)r->tokens : NAN;
    for (int i = 0; i < PLAN_CONVENTIONS; i++) p->flops[i] = p->flops_per_token[i] * tokens;
    p->steps = ceil(tokens / (double)p->tokens_per_step);
    p->run_s = p->steps * p->step_s.total;
    p->wall_s = isnan(p->goodput) ? p->run_s : p->run_s / p->goodput;
    p->device_hours = devices * p->wall_s / 3600;
    double usd_per_s = r->usd_per_device_hour * devices / 3600, of_steps = usd_per_s * p->steps;
    p->usd = (plan_parts){.useful = of_steps * p->step_s.useful,
                          .recompute = of_steps * p->step_s.recompute,
                          .communication = of_steps * p->step_s.communication,
                          .failures = isnan(p->goodput) ? NAN : usd_per_s * (p->wall_s - p->run_s),
                          .total = usd_per_s * p->wall_s};
    p->usd_per_mtok = usd_per_s / p->tokens_per_s * 1e6 / (isnan(p->goodput) ? 1 : p->goodput);
}

static double or_zero(double x) { return isnan(x) ? 0 : x; }

static void find_energy(plan *p, const plan_request *r) {
    double devices = r->step.o.shard.ranks, nodes = ceil(devices / r->m.net.per_node), hours = p->wall_s / 3600;
    p->kwh_devices = devices * r->device_watts * hours / 1000;
    p->kwh_host = nodes * r->host_watts * hours / 1000;
    double machines = p->kwh_devices + or_zero(p->kwh_host);
    p->kwh_overhead = machines * (r->pue - 1);
    p->kwh = machines + or_zero(p->kwh_overhead);
    p->kg_co2 = p->kwh * r->kg_co2_per_kwh;
}

status plan_make(plan *p, const plan_request *r) {
    *p = (plan){0};
    count_flops(p, r);
    TRY(find_time(p, r));
    for (int i = 0; i < MEM_CATEGORIES; i++) p->memory_bytes += (double)p->step.memory[i];
    p->spare_bytes = r->memory_limit - p->memory_bytes;
    find_goodput(p, r);
    if (p->goodput <= 0)
        FAIL(ARG,
             "--mtbf-hours %.4g: on %d device%s checkpoints and restarts take all of the time; expected fewer devices, "
             "or "
             "a longer time between failures",
             r->device_mtbf_hours, r->step.o.shard.ranks, r->step.o.shard.ranks == 1 ? "" : "s");
    find_run(p, r);
    find_energy(p, r);
    return STATUS_OK;
}
