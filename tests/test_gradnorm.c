#include "optim/gradnorm.h"

#include <float.h>

#include "tests/check.h"

static double sum_squares(const float *x, i64 n, double before, int threads) {
    device *dev;
    OK(device_open(&dev, "cpu", threads, 0));
    void *scratch = malloc(gradnorm_scratch_bytes(n));
    double sum = before;
    OK(gradnorm_sum_squares(dev, &sum, x, n, scratch));
    free(scratch);
    device_close(dev);
    return sum;
}

static void test_against_reference(void **state) {
    (void)state;
    const i64 sizes[] = {1, 7, 65535, 65536, 65537, 300001};
    float *x = malloc(300001 * 4);
    random_tensor(x, NULL, F32, 300001, 3, 1);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        i64 n = sizes[k];
        long double want = 0;
        for (i64 i = 0; i < n; i++) want += (long double)x[i] * x[i];
        double one = sum_squares(x, n, 0, 1), three = sum_squares(x, n, 0, 3);
        assert_memory_equal(&one, &three, sizeof one);
        /* all terms positive: at most one f64 rounding for each element of a block, and one for each block */
        assert_true(fabsl(one - want) <= (65536 + 5) * (DBL_EPSILON / 2) * want);
        assert_true(sum_squares(x, n, 1e3, 3) == 1e3 + one || n > 65536);
    }
    free(x);
}

static void test_range(void **state) {
    (void)state;
    float x[3] = {3e38f, 0, 1e-38f};
    assert_true(sum_squares(x, 3, 0, 1) == (double)x[0] * x[0]); /* its square is not representable in f32 */
    assert_true(sum_squares(x + 2, 1, 0, 1) == (double)x[2] * x[2]);
    x[1] = INFINITY;
    assert_true(isinf(sum_squares(x, 3, 0, 1)));
    x[1] = NAN;
    assert_true(isnan(sum_squares(x, 3, 0, 1)));
}

static void test_bad_arguments(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    double sum = 0;
    FAILS(ARG, "0 elements", gradnorm_sum_squares(dev, &sum, NULL, 0, NULL));
    device_close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
