/* The budget from figures that are multiplied out here. */
#include "tests/check.h"
#include "tests/plan_problem.h"

#include <string.h>

#include "tools/plan_budget.h"
#include "train/model/cost.h"
#include "train/model/presets.h"

static plan_request request(int devices) {
    plan_request r = plan_problem(devices);
    r.step.s = (model_shape){.B = 2, .T = 1024};
    r.step.micro_batches = 2;
    r.m = (machine){
        .flops = 5e14, .memory = 3e12, .net = {.per_node = 8, .inside = {3e11, 3e-6}, .between = {4e10, 1e-5}}};
    r.peak = 1e15;
    r.memory_limit = 80e9;
    r.usd_per_device_hour = 4;
    r.checkpoint_s = 60;
    r.restart_s = 300;
    OK(model_config_load(&r.step.c, "llama3.1-8b"));
    return r;
}

static void close_to(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-9 * fabs(expected))) fail_msg("%.12g, expected %.12g", got, expected);
}

static plan_budget_result budget(const plan_request *base, double usd, double tokens_at_most) {
    plan_budget_result r;
    plan_budget_options o = {.usd = usd, .tokens_at_most = tokens_at_most, .kept = {.stage = true, .moments = true}};
    OK(plan_budget_run(&r, base, &o));
    return r;
}

static void test_money_buys_hours_flops_and_a_model(void **state) {
    (void)state;
    plan_request base = request(8);
    plan_budget_result r = budget(&base, 3200, INFINITY);
    close_to(r.device_hours, 800);
    close_to(r.wall_s, 360000);
    close_to(r.flops, 800 * 3600 * r.flops_per_s);
    assert_true(r.flops_per_s > 1e14 &&
                r.flops_per_s < 5.5e14); /* 6N counts less or a little more than what GEMMs do */
    scaling_point p;
    OK(scaling_optimum(&p, &scaling_laws[SCALING_BESIROGLU], r.flops, INFINITY));
    assert_int_equal(r.answer, SCALING_BESIROGLU);
    close_to(r.by_law[r.answer].N, p.N);
    close_to(6 * p.N * p.D, r.flops);
    for (int i = 0; i < PLAN_BUDGET_CHANGES; i++) {
        bool better = strstr(r.changes[i].change, "price 20% lower") || strstr(r.changes[i].change, "MFU 20% higher");
        assert_true((r.changes[i].at.loss < p.loss) == better && (r.changes[i].at.N > p.N) == better);
    }
    close_to(r.changes[0].flops, r.flops / 0.8);
    close_to(r.changes[1].flops, r.flops / 1.2);
}

static void test_presets_are_the_nearest_at_their_own_speed(void **state) {
    (void)state;
    plan_request base = request(8);
    plan_budget_result r = budget(&base, 3200, INFINITY);
    double N = r.by_law[r.answer].N, farthest = 0;
    assert_int_equal(r.preset_count, PLAN_BUDGET_PRESETS);
    for (int i = 0; i < r.preset_count; i++) {
        const plan_budget_preset *m = &r.presets[i];
        close_to(m->at.N, (double)model_config_parameters(&m->step.c));
        close_to(m->at.D, m->p.tokens_per_s * r.wall_s);
        close_to(m->at.loss, scaling_loss(&scaling_laws[r.answer], m->at.N, m->at.D, INFINITY));
        assert_true(m->fits && m->p.memory_bytes <= base.memory_limit);
        assert_true(m->at.loss > r.by_law[r.answer].loss * 0.99);
        farthest = fmax(farthest, fabs(log(m->at.N / N)));
    }
    assert_string_equal(r.rate_of, r.presets[0].step.c.name);
    close_to(r.flops_per_s, 6 * r.presets[0].at.N * r.presets[0].p.tokens_per_s / 8);
    int nearer = 0;
    for (int i = 0; i < presets_count(); i++) {
        model_config c;
        presets_get(&c, i);
        nearer += c.context >= 1024 && fabs(log((double)model_config_parameters(&c) / N)) <= farthest;
    }
    assert_int_equal(nearer, PLAN_BUDGET_PRESETS);
}

static void test_a_given_mfu_is_that_of_the_exact_count(void **state) {
    (void)state;
    plan_request base = request(8);
    base.mfu = 0.4;
    plan_budget_result r = budget(&base, 3200, INFINITY);
    const plan_budget_preset *m = &r.presets[0];
    assert_string_equal(r.rate_of, m->step.c.name);
    close_to(r.flops_per_s, 0.4 * 1e15 * 6 * m->at.N / cost_flops_per_token(&m->step.c, 1024));
    base.mfu = NAN, base.tokens_per_s = 0.4 * 1e15 * 8 / cost_flops_per_token(&base.step.c, 1024);
    plan_budget_result same = budget(&base, 3200, INFINITY);
    assert_true(fabs(same.flops / r.flops - 1) < 1e-6);
    base.peak = NAN;
    FAILS(ARG, "--peak-tflops",
          plan_budget_run(&same, &base, &(plan_budget_options){.usd = 3200, .tokens_at_most = INFINITY}));
}

static void test_failures_take_their_part(void **state) {
    (void)state;
    plan_request base = request(8);
    base.mfu = 0.4;
    plan_budget_result without = budget(&base, 3200, INFINITY);
    base.device_mtbf_hours = 80; /* 10 hours for 8 devices: d 60 s, R 300 s */
    plan_budget_result with = budget(&base, 3200, INFINITY);
    double tau = sqrt(2 * 60 * 36000.0), goodput = 1 - 60 / tau - tau / 72000 - 300 / 36000.0;
    close_to(with.goodput, goodput);
    close_to(with.flops, without.flops * goodput);
    close_to(with.presets[0].at.D, without.presets[0].at.D * goodput);
}

static void test_limited_data_is_repeated(void **state) {
    (void)state;
    plan_request base = request(8);
    plan_budget_result free_data = budget(&base, 3200, INFINITY), r = budget(&base, 3200, 5e9);
    assert_int_equal(r.answer, SCALING_MUENNIGHOFF);
    const scaling_point *p = &r.by_law[r.answer];
    assert_true(p->U == 5e9 && p->D > 5e9);
    assert_true(p->loss > free_data.by_law[SCALING_MUENNIGHOFF].loss && p->N < free_data.by_law[SCALING_MUENNIGHOFF].N);
    for (int i = 0; i < r.preset_count; i++) assert_true(r.presets[i].at.U == fmin(5e9, r.presets[i].at.D));
    assert_true(isnan(free_data.enough_usd));
    /* less data: less money is enough, and its loss is within 0.1% */
    plan_budget_result little = budget(&base, 3200, 1e8);
    assert_true(little.enough_usd < 0.3 * r.enough_usd && r.enough_usd < 3200);
    scaling_point enough;
    OK(scaling_optimum(&enough, &scaling_laws[r.answer], little.flops * little.enough_usd / 3200, 1e8));
    assert_true(fabs(enough.loss / little.by_law[r.answer].loss - 1.001) < 1e-5);
}

static void test_what_is_refused(void **state) {
    (void)state;
    plan_budget_result r;
    plan_budget_options o = {.usd = 100, .tokens_at_most = INFINITY, .kept = {true, true, true, true}};
    plan_request base = request(8);
    base.usd_per_device_hour = NAN;
    FAILS(ARG, "price of a device-hour is not known", plan_budget_run(&r, &base, &o));
    base.usd_per_device_hour = 0;
    FAILS(ARG, "a price above 0", plan_budget_run(&r, &base, &o));
    base = request(1);
    base.memory_limit = 1e6;
    FAILS(ARG, "no preset fits", plan_budget_run(&r, &base, &o));
    base = request(8);
    base.step.s.T = 1 << 20;
    FAILS(ARG, "no preset has such a context", plan_budget_run(&r, &base, &o));
    base = request(8);
    const double bad[] = {0, -5, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        o.usd = bad[i];
        FAILS(ARG, "--budget", plan_budget_run(&r, &base, &o));
    }
    o = (plan_budget_options){.usd = 100, .tokens_at_most = NAN};
    FAILS(ARG, "--tokens-at-most", plan_budget_run(&r, &base, &o));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_money_buys_hours_flops_and_a_model),
        cmocka_unit_test(test_presets_are_the_nearest_at_their_own_speed),
        cmocka_unit_test(test_a_given_mfu_is_that_of_the_exact_count),
        cmocka_unit_test(test_failures_take_their_part),
        cmocka_unit_test(test_limited_data_is_repeated),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
