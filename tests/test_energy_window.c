#include "tests/check.h"

#include "train/bill/energy_window.h"

/* 200 W, steps of step_s; the counter changes only every 100 ms */
static void go(energy_window *w, energy_kind kind, double *now_s, double step_s, double *joules, double *over_s) {
    double before = floor(*now_s * 10 + 1e-6) / 10 * 200;
    *now_s += step_s;
    double after = floor(*now_s * 10 + 1e-6) / 10 * 200;
    *joules = energy_window_step(w, kind, (uint64_t)(*now_s * 1e9), after, after - before, step_s, over_s);
}

static void short_steps_share_a_window(void **unused) {
    (void)unused;
    energy_window w = {0};
    double now_s = 7, joules, over_s, sum = 0;
    for (int i = 0; i < 20; i++) {
        go(&w, ENERGY_NVML, &now_s, 0.03, &joules, &over_s);
        assert_true(over_s == 0.03); /* marked as short: the first second is not over */
    }
    while (over_s < 1) go(&w, ENERGY_NVML, &now_s, 0.03, &joules, &over_s);
    for (int i = 0; i < 1000; i++) {
        go(&w, ENERGY_NVML, &now_s, 0.03, &joules, &over_s);
        assert_true(over_s >= 1 && fabs(joules / 6 - 1) < 0.11); /* a window is right to 100 ms */
        sum += joules;
    }
    assert_true(fabs(sum / 6000 - 1) < 0.02);
}

static void a_long_step_has_its_own(void **unused) {
    (void)unused;
    energy_window w = {0};
    double now_s = 7, joules, over_s;
    for (int i = 0; i < 3; i++) {
        go(&w, ENERGY_NVML_POWER, &now_s, 2.5, &joules, &over_s);
        assert_true(over_s == 2.5 && fabs(joules - 500) < 1e-6);
    }
}

static void other_sources_have_none(void **unused) {
    (void)unused;
    const energy_kind kinds[] = {ENERGY_RAPL, ENERGY_TDP, ENERGY_UNKNOWN};
    for (int k = 0; k < 3; k++) {
        energy_window w = {0};
        double now_s = 7, joules, over_s;
        go(&w, kinds[k], &now_s, 0.1, &joules, &over_s);
        assert_true(isinf(over_s) && fabs(joules - 20) < 1e-6);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_steps_share_a_window),
        cmocka_unit_test(a_long_step_has_its_own),
        cmocka_unit_test(other_sources_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
