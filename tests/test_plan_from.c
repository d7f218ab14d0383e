/* The step time of a plan that starts from a run: the run's own for the same step, and for another the sum over kinds of work, from
 * closed forms that are written out here. */
#include "tests/check.h"
#include "layers/classifier.h"
#include "tools/plan_from.h"
#include "train/model/cost.h"

static const double GEMM_RATE = 3e11, FORWARD_S = 2e-12, BACKWARD_S = 5e-12, LOGIT_S = 4e-10, WEIGHT_S = 8e-10,
                    REST_S = 3e-10;
static const double BYTES_OF_A_WEIGHT =
    34;                        /* that the optimizer moves: two reads of a gradient, moments, master, bf16 */
static const double KEYS = 76; /* a query costs as much as so many more keys */

static step_plan step_of(const char *name, i64 B, i64 T, recompute_policy r) {
    step_plan s = {.s = {.B = B, .T = T, .recompute = r},
                   .o = {.t = BF16, .moments = F32, .master = true, .training = true, .shard = {.ranks = 1}},
                   .micro_batches = 1};
    OK(model_config_load(&s.c, name));
    return s;
}

static double attention_units(const step_plan *s, double times) {
    double T = (double)s->s.T, pairs = T * (T + 1) / 2;
    return times * (double)(s->s.B * s->c.L * s->c.H * s->c.D) * (pairs + KEYS * T);
}

static double gemm_flops(const step_plan *s) {
    flop_counter f = cost_training_flops(&s->c, s->s.recompute, s->s.B, s->s.T);
    double pairs = (double)s->s.T * (double)(s->s.T + 1) / 2;
    double blocks =
        (double)s->c.L + (s->s.recompute.kind == RECOMPUTE_BLOCK ? (double)s->s.recompute.blocks * 4 / 14 : 0);
    return (double)meter_flops_executed(&f) - 14 * blocks * (double)(s->s.B * s->c.H * s->c.D) * pairs;
}

/* bytes of weights, of their gradients and of logits: bf16 weights are read and packed once a step, gradients are f32 */
static double gemm_bytes(const step_plan *s) {
    const model_config *c = &s->c;
    double qkv = (double)(c->C * (c->H + 2 * c->K) * c->D), attn = (double)(c->H * c->D * c->C),
           down = (double)(c->C * c->F);
    double up = down * (c->swiglu ? 2 : 1), block = qkv + attn + up + down, head = (double)(c->V * c->C);
    double again = s->s.recompute.kind == RECOMPUTE_BLOCK ? (double)s->s.recompute.blocks : 0;
    i64 N = s->s.B * s->s.T, chunk = classifier_chunk(&(device){.kind = DEVICE_CPU}, BF16, N, c->V);
    double chunks = (double)((N + chunk - 1) / chunk), micro = (double)s->micro_batches;
    double read = (double)c->L * 2 * block + again * (block - down) + chunks * 2 * head;
    double written = (double)c->L * block + chunks * head;
    double logits =
        (double)(N * c->V) * (8 + 2 + 2); /* written in f32 with a read before; their bf16 gradient is read twice */
    return micro * (read * (2 + 4 / micro) + written * 8 + logits);
}

/* kinds: gemm, attention forward and backward, loss, optimizer, rest. forwards: how often a block's forward is computed */
static void work_of(double works[CALIBRATION_WORKS], const step_plan *s) {
    const model_config *c = &s->c;
    double again = s->s.recompute.kind == RECOMPUTE_BLOCK ? (double)s->s.recompute.blocks / (double)c->L : 0;
    double row = (double)(4 * c->C + 2 * c->H * c->D + 2 * c->K * c->D + (c->swiglu ? 3 : 2) * c->F);
    double N = (double)(s->s.B * s->s.T);
    memset(works, 0, CALIBRATION_WORKS * sizeof *works);
    works[CALIBRATION_GEMM] = gemm_flops(s) / GEMM_RATE + gemm_bytes(s) * WEIGHT_S / BYTES_OF_A_WEIGHT;
    works[CALIBRATION_ATTENTION_FORWARD] = FORWARD_S * attention_units(s, 1 + again);
    works[CALIBRATION_ATTENTION_BACKWARD] = BACKWARD_S * attention_units(s, 1);
    works[CALIBRATION_LOSS] = LOGIT_S * N * (double)c->V;
    works[CALIBRATION_OPTIMIZER] = WEIGHT_S * (double)model_config_parameters(c);
    works[CALIBRATION_DATA] = 1e-9 * N;
    works[CALIBRATION_REST] = REST_S * N * ((double)c->L * row * (1 + again / 3) + (double)c->C);
}

static double sum(const double works[CALIBRATION_WORKS]) {
    double s = 0;
    for (int i = 0; i < CALIBRATION_WORKS; i++) s += works[i];
    return s;
}

/* a run in which every GEMM goes at GEMM_RATE */
static calibration run_of(const step_plan *s) {
    calibration c = {
        .precision = "bf16", .recompute = "none", .shard = "full", .ranks = 1, .threads = 1, .micro_batches = 1};
    snprintf(c.model, sizeof c.model, "%s", s->c.name);
    c.batch = s->s.B, c.seq_len = s->s.T, c.vocabulary = s->c.V;
    work_of(c.works, s);
    c.step_s = sum(c.works);
    c.tokens_per_s = (double)(s->s.B * s->s.T) / c.step_s;
    flop_counter f = cost_training_flops(&s->c, s->s.recompute, s->s.B, s->s.T);
    c.flops_executed_per_s = (double)meter_flops_executed(&f) / c.step_s;
    static const bool trans[][2] = {{false, true}, {false, false}, {true, false}};
    for (; c.gemm_count < 3; c.gemm_count++) {
        calibration_gemm g = {.M = 64, .N = 96, .K = 128, .calls = 2};
        g.trans_a = trans[c.gemm_count][0], g.trans_b = trans[c.gemm_count][1];
        double bytes = g.trans_a ? 8 * 64 * 96 : 6 * 96 * 128;
        g.seconds = 2 * (2.0 * 64 * 96 * 128 / GEMM_RATE + bytes * WEIGHT_S / BYTES_OF_A_WEIGHT);
        c.gemms[c.gemm_count] = g;
    }
    return c;
}

static void expect(const step_plan *s, const calibration *c, double seconds, const char *how) {
    plan_request r = {.step = *s, .from = c};
    OK(plan_from_speed(&r));
    double got = (double)(s->s.B * s->s.T * s->micro_batches) / r.tokens_per_s;
    if (!(fabs(got / seconds - 1) < 1e-9) || !strstr(r.speed, how))
        fail_msg("%s, B %ld, T %ld: %.12g s, expected %.12g (%s)", s->c.name, s->s.B, s->s.T, got, seconds, r.speed);
}

static void same_and_other_steps(void **unused) {
    (void)unused;
    const recompute_policy none = {RECOMPUTE_NONE, 0}, block = {RECOMPUTE_BLOCK, 5};
    step_plan own = step_of("llama-3m", 2, 128, none);
    calibration c = run_of(&own);
    expect(&own, &c, c.step_s, "as measured");
    const struct {
        const char *name;
        i64 B, T;
        recompute_policy r;
    } others[] = {{"llama-3m", 3, 128, none},
                  {"llama-3m", 2, 512, none},
                  {"llama-3m", 2, 128, block},
                  {"gpt2-124m", 1, 64, none},
                  {"smollm2-135m", 1, 256, block}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        double works[CALIBRATION_WORKS];
        step_plan s = step_of(others[i].name, others[i].B, others[i].T, others[i].r);
        work_of(works, &s);
        expect(&s, &c, sum(works), "each kind of work");
    }
}

/* micro-batches repeat all but the optimizer and the packing of weights */
static void micro_batches(void **unused) {
    (void)unused;
    step_plan s = step_of("llama-3m", 2, 128, (recompute_policy){RECOMPUTE_NONE, 0});
    step_plan own = s;
    calibration c = run_of(&s);
    s.micro_batches = 4;
    double packed = 4 * (gemm_bytes(&own) - gemm_bytes(&s) / 4);
    double seconds = 4 * c.step_s - 3 * c.works[CALIBRATION_OPTIMIZER] - packed * WEIGHT_S / BYTES_OF_A_WEIGHT;
    expect(&s, &c, seconds, "each kind of work");
}

/* A shape that the run had takes what it took; what lies between two shapes lies between their speeds. */
static void speed_of_shapes(void **unused) {
    (void)unused;
    step_plan s = step_of("llama-3m", 2, 128, (recompute_policy){RECOMPUTE_NONE, 0});
    calibration c = run_of(&s), slower;
    slower = c;
    for (int i = 0; i < c.gemm_count; i++) slower.gemms[i].seconds += 2 * 2.0 * 64 * 96 * 128 / GEMM_RATE;
    plan_request a = {.step = s, .from = &c}, b = {.step = s, .from = &slower};
    a.step.s.B = b.step.s.B = 4;
    OK(plan_from_speed(&a));
    OK(plan_from_speed(&b));
    double tokens = 4 * 128, flops = gemm_flops(&a.step);
    double more = (tokens / b.tokens_per_s - tokens / a.tokens_per_s) * GEMM_RATE / flops;
    if (!(fabs(more - 1) < 1e-9)) fail_msg("GEMMs at half the speed take %.9g of their time more, expected 1", more);
}

/* without kinds of work, as from a GPU, and with other ranks: a rate of FLOPs */
static void rate_of_flops(void **unused) {
    (void)unused;
    step_plan s = step_of("llama-3m", 2, 128, (recompute_policy){RECOMPUTE_NONE, 0});
    calibration c = run_of(&s);
    plan_request r = {.step = s, .from = &c};
    r.step.o.shard.ranks = 2, r.step.o.shard.stage = SHARD_FULL;
    OK(plan_from_speed(&r));
    flop_counter f = cost_training_flops(&s.c, s.s.recompute, s.s.B, s.s.T);
    double optimizer = c.works[CALIBRATION_OPTIMIZER] / 2; /* of its half */
    double rate = (double)meter_flops_executed(&f) / (c.step_s - optimizer);
    assert_true(isnan(r.tokens_per_s) && fabs(r.m.flops / rate - 1) < 1e-9);
    c.works[CALIBRATION_GEMM] = NAN;
    r.step.s.B = 4;
    OK(plan_from_speed(&r));
    assert_true(isnan(r.tokens_per_s) && r.m.flops == c.flops_executed_per_s && isinf(r.m.memory));
}

static void other_precision_is_refused(void **unused) {
    (void)unused;
    step_plan s = step_of("llama-3m", 2, 128, (recompute_policy){RECOMPUTE_NONE, 0});
    calibration c = run_of(&s);
    plan_request r = {.step = s, .from = &c};
    r.step.o.t = F32;
    FAILS(ARG, "--precision fp32: the run of --from measured the speed of bf16", plan_from_speed(&r));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_and_other_steps), cmocka_unit_test(micro_batches),
                                       cmocka_unit_test(speed_of_shapes), cmocka_unit_test(rate_of_flops),
                                       cmocka_unit_test(other_precision_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
