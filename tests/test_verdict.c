#include "optim/verdict.h"

#include "tests/check.h"

static device *dev;
static const verdict_args plain = {.tokens = 4, .clip = 2, .beta1 = 0.9, .beta2 = 0.95};

static void sums_of_ranks_become_loss_and_norm(void **state) {
    (void)state;
    const step_sums sums[] = {{1, 0.5}, {3, 0.25}, {6, 0.25}};
    step_verdict v = {.updates = 6};
    OK(verdict_decide(dev, &v, sums, 3, plain));
    assert_true(v.loss == 2.5 && v.grad_norm == 1 && v.grad_scale == 1 && !v.skipped);
    assert_int_equal(v.updates, 7);
    assert_true(v.m_correction == (float)(1 / (1 - pow(0.9, 7))) && v.v_correction == (float)(1 / (1 - pow(0.95, 7))));
}

static void a_norm_above_the_limit_is_scaled_to_it(void **state) {
    (void)state;
    const step_sums sums = {1, 64};
    step_verdict v = {0};
    OK(verdict_decide(dev, &v, &sums, 1, plain));
    assert_true(v.grad_norm == 8 && v.grad_scale == 0.25f);
    verdict_args unlimited = plain;
    unlimited.clip = 0;
    OK(verdict_decide(dev, &v, &sums, 1, unlimited));
    assert_true(v.grad_scale == 1);
}

static void what_is_not_finite_is_skipped_and_not_counted(void **state) {
    (void)state;
    const step_sums bad[] = {{NAN, 1}, {INFINITY, 1}, {1, NAN}, {1, INFINITY}};
    for (int i = 0; i < 4; i++) {
        step_verdict v = {.updates = 3};
        OK(verdict_decide(dev, &v, &bad[i], 1, plain));
        assert_true(v.skipped && v.updates == 3);
    }
}

static void bad_arguments(void **state) {
    (void)state;
    step_verdict v = {0};
    step_sums sums = {1, 1};
    verdict_args a = plain;
    FAILS(ARG, "0 ranks", verdict_decide(dev, &v, &sums, 0, a));
    a.beta1 = 1;
    FAILS(ARG, "betas 1 and", verdict_decide(dev, &v, &sums, 1, a));
}

static int open_cpu(void **state) {
    (void)state;
    OK(device_open(&dev, "cpu", 1, 0));
    return 0;
}

static int close_cpu(void **state) {
    (void)state;
    device_close(dev);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_ranks_become_loss_and_norm),
        cmocka_unit_test(a_norm_above_the_limit_is_scaled_to_it),
        cmocka_unit_test(what_is_not_finite_is_skipped_and_not_counted),
        cmocka_unit_test(bad_arguments),
    };
    return cmocka_run_group_tests(tests, open_cpu, close_cpu);
}
