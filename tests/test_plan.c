/* The figures of a plan, from closed forms that are written out here. */
#include "tests/check.h"
#include "tests/plan_problem.h"
#include "tools/plan.h"
#include "tools/plan_shape.h"

static plan_request request(const char *name, int devices) {
    plan_request r = plan_problem(devices);
    OK(model_config_load(&r.step.c, name));
    return r;
}

static void close_to(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-6 * fabs(expected))) fail_msg("%.12g, expected %.12g", got, expected);
}

static void what_is_not_known_is_nan(void **unused) {
    (void)unused;
    plan_request r = request("llama2-7b", 8);
    plan p;
    OK(plan_make(&p, &r));
    assert_true(isnan(p.usd.total) && isnan(p.kwh) && isnan(p.kg_co2) && isnan(p.goodput) && isnan(p.spare_bytes) &&
                isnan(p.steps));
    assert_true(p.mfu[PLAN_EXACT] > 0 && p.mfu[PLAN_EXACT] < 0.5);
    r.peak = NAN;
    OK(plan_make(&p, &r));
    assert_true(isnan(p.mfu[PLAN_EXACT]) && isnan(p.hfu));
    r.mfu = 0.3;
    FAILS(ARG, "peak of the device is not known", plan_make(&p, &r));
}

/* given the rate that the simulation found, the parts are those of the simulation */
static void a_given_rate_is_solved_for(void **unused) {
    (void)unused;
    plan_request r = request("llama2-7b", 16);
    r.step.s.recompute.blocks = 12;
    plan simulated, p;
    OK(plan_make(&simulated, &r));
    r.tokens_per_s = simulated.tokens_per_s;
    OK(plan_make(&p, &r));
    close_to(p.gemm_flops_per_s, r.m.flops);
    close_to(p.step_s.communication, simulated.step_s.communication);
    close_to(p.step_s.recompute, simulated.step_s.recompute);
    close_to(p.step_s.useful + p.step_s.recompute + p.step_s.communication, p.step_s.total);
    r.tokens_per_s = NAN, r.mfu = simulated.mfu[PLAN_EXACT];
    OK(plan_make(&p, &r));
    close_to(p.step_s.total, simulated.step_s.total);
    /* faster than the assumed links allow: the time holds, its parts are not known */
    r.mfu = NAN, r.peak = NAN, r.tokens_per_s = 100 * simulated.tokens_per_s;
    OK(plan_make(&p, &r));
    assert_true(isnan(p.step_s.communication) && isnan(p.step_s.useful));
    close_to(p.tokens_per_s, r.tokens_per_s);
    r.peak = 2e14;
    FAILS(ARG, "dense peak of 16 devices allows", plan_make(&p, &r));
}

static void money_energy_and_failures(void **unused) {
    (void)unused;
    plan_request r = request("gpt2-124m", 16);
    r.tokens = 16 * 256 * 1000 - 5, r.tokens_per_s = 4096, r.usd_per_device_hour = 3.6, r.device_watts = 400,
    r.host_watts = 800;
    r.pue = 1.5, r.kg_co2_per_kwh = 0.4, r.device_mtbf_hours = 1600, r.checkpoint_s = 50, r.restart_s = 360;
    plan p;
    OK(plan_make(&p, &r));
    close_to(p.steps, 1000);
    close_to(p.run_s, 1000);
    close_to(p.checkpoint_every_s, 6000); /* sqrt(2 * 50 * 360000) */
    close_to(p.goodput, 1 - 50.0 / 6000 - 6000 / 720000.0 - 360 / 360000.0);
    close_to(p.wall_s, 1000 / p.goodput);
    close_to(p.usd.total, 16 * 0.001 * p.wall_s);
    close_to(p.usd.useful + p.usd.recompute + p.usd.communication + p.usd.failures, p.usd.total);
    close_to(p.kwh_devices, 16 * 0.4 * p.wall_s / 3600);
    close_to(p.kwh_host, 2 * 0.8 * p.wall_s / 3600);
    close_to(p.kwh, 1.5 * (p.kwh_devices + p.kwh_host));
    close_to(p.kg_co2, 0.4 * p.kwh);
    r.pue = NAN;
    OK(plan_make(&p, &r));
    close_to(p.kwh, p.kwh_devices + p.kwh_host);
    r.device_mtbf_hours = 0.001;
    FAILS(ARG, "take all of the time", plan_make(&p, &r));
}

static void mfu_by_each_convention(void **unused) {
    (void)unused;
    plan_request r = request("gpt2-124m", 2);
    r.step.s.T = 1024, r.tokens_per_s = 1000, r.peak = 1e12;
    plan p;
    OK(plan_make(&p, &r));
    double P = (double)p.parameters;
    close_to(p.mfu[PLAN_6N], 6 * P * 1000 / 2e12);
    close_to(p.mfu[PLAN_PALM], (6 * P + 12.0 * 12 * 768 * 1024) * 1000 / 2e12);
    close_to(p.flops_per_token[PLAN_EXACT], 3 * (12 * (2.0 * 12 * 768 * 768 + 2 * 768 * 1025) + 2.0 * 768 * 50257));
    assert_true(p.hfu > p.mfu[PLAN_EXACT]); /* the backward of attention repeats the scores */
    /* PaLM 540B, table 3: 238.3e3 tokens/s on 6144 chips at 275 TFLOP/s are 46.2% */
    double flops = plan_flops_palm(540.35e9, 118, 48 * 256, 2048);
    assert_true(fabs(plan_utilisation(flops, 238.3e3, 6144, 275e12) - 0.462) < 0.0005);
}

/* the published feed-forward of Llama 2 (Touvron et al. 2023) follows from its parameters, layers and width */
static void a_shape_from_parameters_layers_and_width(void **unused) {
    (void)unused;
    model_config c;
    OK(plan_shape_find(&c, &(plan_shape){6738415616.0, 32, 4096, 32000, 4096}));
    assert_int_equal(c.F, 11008);
    assert_int_equal(model_config_parameters(&c), 6738415616);
    OK(plan_shape_find(&c, &(plan_shape){13015864320.0, 40, 5120, 32000, 4096}));
    assert_int_equal(c.F, 13824);
    assert_int_equal(c.H, 40);
    OK(plan_shape_find(&c, &(plan_shape){1e8, 12, 320, 32000, 512}));
    assert_int_equal(c.D, 64);
    assert_true(fabs((double)model_config_parameters(&c) / 1e8 - 1) < 1e-3);
    FAILS(ARG, "alone have", plan_shape_find(&c, &(plan_shape){1e9, 32, 4096, 32000, 4096}));
    FAILS(ARG, "multiple of 64", plan_shape_find(&c, &(plan_shape){1e9, 32, 4000, 32000, 4096}));
    FAILS(ARG, "expected fewer", plan_shape_find(&c, &(plan_shape){1e14, 1, 64, 2, 4096}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_known_is_nan),
        cmocka_unit_test(a_given_rate_is_solved_for),
        cmocka_unit_test(money_energy_and_failures),
        cmocka_unit_test(mfu_by_each_convention),
        cmocka_unit_test(a_shape_from_parameters_layers_and_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
