#include "tools/plan_from.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/attention.h"
#include "parallel/comm_dry.h"
#include "runtime/device_dry.h"
#include "train/model/cost.h"
#include "train/step.h"

/* --- the run's own step --- */

/* what can be known of it: the dtypes of moments and master weights are taken to be those of *like */
static status own_step(step_plan *own, const step_plan *like, const calibration *c) {
    *own = *like;
    TRY(model_config_load(&own->c, c->model));
    own->c.V = c->vocabulary;
    own->s = (model_shape){.B = c->batch, .T = c->seq_len};
    own->micro_batches = c->micro_batches;
    own->o.shard.ranks = (int)c->ranks;
    return recompute_parse(&own->s.recompute, c->recompute, own->c.L);
}

static bool same_model(const model_config *a, const model_config *b) {
    return a->L == b->L && a->C == b->C && a->H == b->H && a->K == b->K && a->D == b->D && a->F == b->F &&
           a->V == b->V && a->swiglu == b->swiglu && a->window == b->window &&
           model_config_parameters(a) == model_config_parameters(b);
}

static bool same_ranks(const step_plan *s, const calibration *c) {
    return c->ranks == s->o.shard.ranks && (c->ranks == 1 || strcmp(c->shard, fsdp_stage_name(s->o.shard.stage)) == 0);
}

static bool same_step(const step_plan *a, const step_plan *own, const calibration *c) {
    return same_ranks(a, c) && same_model(&a->c, &own->c) && a->s.B == own->s.B && a->s.T == own->s.T &&
           a->micro_batches == own->micro_batches && a->s.recompute.kind == own->s.recompute.kind &&
           a->s.recompute.blocks == own->s.recompute.blocks;
}

/* --- how much of each kind of work a step has --- */

static const double KEYS_OF_A_QUERY = 76; /* see plan_from.h */

static double recomputed_blocks(const step_plan *s) {
    double n = 0;
    for (i64 l = 0; l < s->c.L; l++) n += recompute_of_block(s->s.recompute, l) == RECOMPUTE_BLOCK;
    return n;
}

static double attention_work(const step_plan *s, bool forward) {
    const model_config *c = &s->c;
    double sum = 0, queries = (double)(s->s.B * s->s.T);
    for (i64 l = 0; l < c->L; l++) {
        double pairs = (double)attention_pairs(s->s.B, s->s.T, model_config_window(c, l), NULL);
        bool twice = forward && recompute_of_block(s->s.recompute, l) == RECOMPUTE_BLOCK;
        sum += (pairs + KEYS_OF_A_QUERY * queries) * (twice ? 2 : 1);
    }
    return sum * (double)(c->H * c->D);
}

static double rest_work(const step_plan *s) {
    const model_config *c = &s->c;
    double of_block = (double)(4 * c->C + 2 * c->H * c->D + 2 * c->K * c->D + (c->swiglu ? 3 : 2) * c->F);
    double blocks = (double)c->L + recomputed_blocks(s) / 3;
    return (double)(s->s.B * s->s.T) * (blocks * of_block + (double)c->C);
}

static status works_of(double works[CALIBRATION_WORKS], const step_plan *s) {
    int pieces;
    TRY(fsdp_pieces(&pieces, &s->o.shard));
    double micro = (double)s->micro_batches, tokens = (double)(s->s.B * s->s.T) * micro;
    double weights = (double)model_config_parameters(&s->c);
    works[CALIBRATION_ATTENTION_FORWARD] = attention_work(s, true) * micro;
    works[CALIBRATION_ATTENTION_BACKWARD] = attention_work(s, false) * micro;
    works[CALIBRATION_LOSS] = tokens * (double)s->c.V;
    works[CALIBRATION_OPTIMIZER] = weights / pieces;
    works[CALIBRATION_DATA] = tokens;
    works[CALIBRATION_COMMUNICATION] = weights;
    works[CALIBRATION_REST] = rest_work(s) * micro;
    return STATUS_OK;
}

/* --- GEMMs --- */

/* the GEMMs of a micro-batch, without computing them */
static status list_gemms(profile *list, const step_plan *s, i64 threads) {
    const device like = {.kind = DEVICE_CPU, .threads = (int)threads};
    parameters_options o = s->o;
    device *dev = NULL;
    comm *world = NULL;
    step_state steps;
    model m = {0};
    int pieces;
    status_code st = STATUS_OK;
    TRY_DONE(fsdp_pieces(&pieces, &o.shard));
    TRY_DONE(device_dry_open(&dev, &like));
    TRY_DONE(comm_dry_open(&world, o.shard.ranks, pieces));
    o.shard.world = world;
    TRY_DONE(step_init(&steps, &m, dev, &s->c, s->s, o));
    dev->profile = list;
    st = step_dry_run(&steps, 1);
done:
    model_free(&m);
    comm_close(world);
    device_close(dev);
    return st;
}

static double flops_of(i64 M, i64 N, i64 K) { return 2 * (double)M * (double)N * (double)K; }

static double squared_distance(const calibration_gemm *a, const profile_gemm *b) {
    double m = log((double)a->M / (double)b->M), n = log((double)a->N / (double)b->N),
           k = log((double)a->K / (double)b->K);
    return m * m + n * n + k * k;
}

/* bytes per second of memory: an optimizer reads gradients twice, and reads and writes moments and weights */
static double bandwidth(const step_plan *own, const calibration *c, double weights) {
    double t = (double)dtype_bytes(own->o.t), moments = (double)dtype_bytes(own->o.moments);
    return weights * (8 + 4 * moments + (own->o.master ? 8 + t : 2 * t)) / c->works[CALIBRATION_OPTIMIZER];
}

typedef struct {
    i64 M, N, K;
    bool trans_a, trans_b;
} gemm_shape;

/* What a GEMM moves that is too large for a cache: its weight, or the gradient of it, and logits. A weight is read, and packed in the
 * first micro-batch of a step. */
static double moved_bytes(const step_plan *s, gemm_shape g) {
    double t = (double)dtype_bytes(s->o.t), M = (double)g.M, N = (double)g.N, K = (double)g.K;
    if (g.trans_a) return 8 * M * N + (g.M == s->c.V ? t * M * K : 0);
    double weight = N * K * (t + 2 * t / (double)s->micro_batches);
    if (g.trans_b) return weight + (g.N == s->c.V ? 8 * M * N : 0);
    return weight + (g.K == s->c.V ? t * M * K : 0);
}

typedef struct {
    const calibration *c;
    const step_plan *own;
    double bytes_per_s;
} gemm_speed;

/* of one call */
static double seconds_without_moves(const gemm_speed *v, const calibration_gemm *g) {
    double all = g->seconds / (double)g->calls;
    return fmax(all - moved_bytes(v->own, (gemm_shape){g->M, g->N, g->K, g->trans_a, g->trans_b}) / v->bytes_per_s,
                all / 10);
}

static double seconds_per_flop(const gemm_speed *v, const profile_gemm *g, bool any) {
    double weights = 0, sum = 0;
    for (int i = 0; i < v->c->gemm_count; i++) {
        const calibration_gemm *own = &v->c->gemms[i];
        if (!any && (own->trans_a != g->trans_a || own->trans_b != g->trans_b)) continue;
        double w = 1 / (squared_distance(own, g) + 1e-6);
        weights += w;
        sum += w * seconds_without_moves(v, own) / flops_of(own->M, own->N, own->K);
    }
    return weights > 0 ? sum / weights : any ? NAN : seconds_per_flop(v, g, true);
}

static status gemm_seconds(double *seconds, const step_plan *s, const gemm_speed *v) {
    profile *list = calloc(1, sizeof *list);
    if (!list) FAIL(MEM, "no memory for the GEMMs of a step");
    status_code st = list_gemms(list, s, v->c->threads);
    *seconds = 0;
    for (int i = 0; !st && i < list->gemm_count; i++) {
        const profile_gemm *g = &list->gemms[i];
        double of_moves = moved_bytes(s, (gemm_shape){g->M, g->N, g->K, g->trans_a, g->trans_b}) / v->bytes_per_s;
        *seconds += (double)g->calls * (flops_of(g->M, g->N, g->K) * seconds_per_flop(v, g, false) + of_moves);
    }
    *seconds *= (double)s->micro_batches;
    free(list);
    return st;
}

/* --- the speed --- */

/* seconds that a rank computes in a step, and those in which it waits for communication with the run's ranks */
static status seconds_of(double *compute, double *exposed, const step_plan *s, const step_plan *own,
                         const calibration *c) {
    double mine[CALIBRATION_WORKS] = {0}, theirs[CALIBRATION_WORKS] = {0};
    TRY(works_of(mine, s));
    TRY(works_of(theirs, own));
    const gemm_speed v = {c, own, bandwidth(own, c, theirs[CALIBRATION_OPTIMIZER])};
    TRY(gemm_seconds(compute, s, &v));
    for (int w = 0; w < CALIBRATION_WORKS; w++)
        if (w != CALIBRATION_GEMM && w != CALIBRATION_COMMUNICATION) *compute += c->works[w] * mine[w] / theirs[w];
    *exposed =
        c->works[CALIBRATION_COMMUNICATION] * mine[CALIBRATION_COMMUNICATION] / theirs[CALIBRATION_COMMUNICATION];
    return STATUS_OK;
}

static double executed_per_rank(const step_plan *s) {
    flop_counter f = cost_training_flops(&s->c, s->s.recompute, s->s.B * s->micro_batches, s->s.T);
    return (double)meter_flops_executed(&f);
}

status plan_from_speed(plan_request *r) {
    const calibration *c = r->from;
    const step_plan *s = &r->step;
    step_plan own;
    double compute, exposed;
    if (!c) return STATUS_OK;
    if (strcmp(c->precision, dtype_name(s->o.t)) != 0)
        FAIL(ARG, "--precision %s: the run of --from measured the speed of %s; expected that, or a run in %s",
             dtype_name(s->o.t), c->precision, dtype_name(s->o.t));
    TRY(own_step(&own, s, c));
    r->mfu = r->tokens_per_s = NAN;
    r->m.memory = INFINITY;
    r->m.flops = c->flops_executed_per_s / (double)c->ranks;
    r->speed = "another step, at the FLOPs that it executed per second";
    if (same_step(s, &own, c)) {
        r->speed = "this step, as measured";
        r->tokens_per_s = c->tokens_per_s;
        return STATUS_OK;
    }
    if (isnan(c->works[CALIBRATION_GEMM]) || !c->gemm_count) return STATUS_OK;
    r->speed = "another step, from the speed of each kind of work in it";
    TRY(seconds_of(&compute, &exposed, s, &own, c));
    r->m.flops = executed_per_rank(s) / compute;
    double tokens = (double)(s->s.B * s->s.T * s->micro_batches * c->ranks);
    if (same_ranks(s, c)) r->tokens_per_s = tokens / (compute + exposed);
    return STATUS_OK;
}
