#include "optim/schedule.h"

#include "tests/check.h"

/* a handful of f64 roundings of numbers up to lr */
static void check_lr(schedule s, int64_t step, double want) {
    double got = schedule_lr(&s, step);
    if (fabs(got - want) > 16 * 0x1p-53 * s.lr) fail_msg("step %ld: %.17g, expected %.17g", step, got, want);
}

static const schedule base = {.lr = 1.0, .min_lr = 0.1, .warmup = 10, .steps = 110, .decay_fraction = 0.2};

static void test_warmup_is_the_same_for_all(void **state) {
    (void)state;
    for (schedule_kind k = SCHEDULE_COSINE; k <= SCHEDULE_CONSTANT; k++) {
        schedule s = base;
        s.kind = k;
        check_lr(s, 0, 0.1);
        check_lr(s, 4, 0.5);
        check_lr(s, 9, 1);
        check_lr(s, 10, 1);
        s.warmup = 0;
        check_lr(s, 0, 1);
    }
}

static void test_shapes(void **state) {
    (void)state;
    schedule s = base;
    s.kind = SCHEDULE_CONSTANT;
    check_lr(s, 109, 1);
    s.kind = SCHEDULE_COSINE;
    check_lr(s, 60, 0.55);
    check_lr(s, 35, 0.1 + 0.45 * (1 + sqrt(0.5)));
    check_lr(s, 110, 0.1);
    s.kind = SCHEDULE_LINEAR;
    check_lr(s, 35, 0.775);
    check_lr(s, 60, 0.55);
    check_lr(s, 110, 0.1);
    s.kind = SCHEDULE_WSD; /* falls over the last 22 steps, from 88 on */
    check_lr(s, 50, 1);
    check_lr(s, 88, 1);
    check_lr(s, 99, 0.55);
    check_lr(s, 110, 0.1);
}

static void test_edges(void **state) {
    (void)state;
    for (schedule_kind k = SCHEDULE_COSINE; k <= SCHEDULE_WSD; k++) {
        schedule s = base;
        s.kind = k;
        check_lr(s, 5000, 0.1); /* past the end it stays at the minimum */
        s.steps = 10;           /* warm-up only */
        check_lr(s, 9, 1);
        check_lr(s, 10, 0.1);
    }
    schedule s = base;
    s.kind = SCHEDULE_WSD;
    s.decay_fraction = 0;
    check_lr(s, 109, 1);
    s.decay_fraction = 1; /* the fall begins after the warm-up, as linear's does */
    check_lr(s, 10, 1);
    check_lr(s, 60, 0.55);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warmup_is_the_same_for_all),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
