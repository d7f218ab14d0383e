#include "tests/check.h"

#include "train/data/mix.h"

static void test_shares(void **state) {
    (void)state;
    static const struct {
        double weights[5];
        int count;
    } cases[] = {{{1}, 1},       {{0.7, 0.3}, 2}, {{1, 1, 1}, 3}, {{1e-6, 1, 1e6}, 3}, {{0.2, 0.2, 0.2, 0.2, 0.2}, 5},
                 {{3, 1e-30}, 2}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int count = cases[k].count;
        double sum = 0;
        for (int i = 0; i < count; i++) sum += cases[k].weights[i];
        mix m = mix_init(cases[k].weights, count);
        mix_position p = {0}, again = {0};
        for (i64 n = 1; n <= 100000; n++) {
            int next = mix_next(&m, &p);
            assert_true(next >= 0 && next < count);
            assert_int_equal(p.windows, n);
            i64 total = 0;
            for (int i = 0; i < count; i++) {
                total += p.used[i];
                assert_true(fabs((double)p.used[i] - cases[k].weights[i] / sum * (double)n) < count);
            }
            assert_int_equal(total, n);
            if (n == 777) again = p;
        }
        while (again.windows < p.windows) mix_next(&m, &again); /* the position is the whole state */
        assert_memory_equal(&again, &p, sizeof p);
    }
}

/* far into a run: no overflow, and the shares still hold */
static void test_far(void **state) {
    (void)state;
    const double weights[] = {3, 1};
    const i64 far = (i64)1 << 50;
    mix m = mix_init(weights, 2);
    mix_position p = {.windows = far, .used = {far / 4 * 3, far / 4}};
    for (int i = 0; i < 4000; i++) mix_next(&m, &p);
    assert_int_equal(p.used[0], far / 4 * 3 + 3000);
    assert_int_equal(p.used[1], far / 4 + 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
