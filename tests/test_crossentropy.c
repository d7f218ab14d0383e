#include "layers/crossentropy.h"

#include "tests/check.h"

static double reference_loss(const double *x, i64 V, i64 target) {
    double most = -INFINITY, sum = 0;
    for (i64 v = 0; v < V; v++) most = fmax(most, x[v]);
    for (i64 v = 0; v < V; v++) sum += exp(x[v] - most);
    return most + log(sum) - x[target];
}

static void reference_gradient(double *d, const double *x, i64 V, i64 target, double scale) {
    double all = reference_loss(x, V, target) + x[target];
    for (i64 v = 0; v < V; v++) d[v] = (exp(x[v] - all) - (v == target)) * scale;
}

/* central differences in f64: h^2 and 1e-16/h are both near 1e-11 */
static void test_gradient_by_differences(void **state) {
    (void)state;
    double x[9], d[9];
    float f[9];
    random_tensor(f, x, F32, 9, 2, 1);
    reference_gradient(d, x, 9, 4, 1);
    for (int v = 0; v < 9; v++) {
        const double h = 1e-5, keep = x[v];
        x[v] = keep + h;
        double up = reference_loss(x, 9, 4);
        x[v] = keep - h;
        double down = reference_loss(x, 9, 4);
        x[v] = keep;
        assert_true(fabs((up - down) / (2 * h) - d[v]) < 1e-8);
    }
}

/* elements beyond V in a row start as NaN and must stay so */
static void check_case(dtype t, dtype lt, i64 N, i64 V, i64 ld, float std) {
    const float scale = 0.37f;
    i64 n = N * ld;
    size_t bytes = (size_t)n * dtype_bytes(t), logits_bytes = (size_t)n * dtype_bytes(lt);
    float *losses[3], *wide = malloc((size_t)n * 4);
    double *wx = malloc((size_t)n * 8), *want = malloc((size_t)V * 8);
    void *x = malloc(logits_bytes), *d[2] = {malloc(bytes), malloc(bytes)};
    int32_t *targets = malloc((size_t)N * 4);
    random_tensor(x, wx, lt, n, std, 1);
    for (i64 i = 0; i < N; i++) memset(tensor_at(x, lt, i * ld + V), 0xff, (size_t)(ld - V) * dtype_bytes(lt));
    memset(d[0], 0xff, bytes), memset(d[1], 0xff, bytes);
    for (i64 i = 0; i < N; i++) targets[i] = i % 4 == 3 ? -1 : (int32_t)rng_below(3, 1, (uint64_t)i, (uint64_t)V);
    if (N > 1) targets[1] = (int32_t)V - 1;
    const crossentropy_logits l = {.x = x, .t = lt, .N = N, .V = V, .ld = ld};
    for (int k = 0; k < 3; k++) {
        losses[k] = malloc((size_t)N * 4);
        device *dev;
        OK(device_open(&dev, "cpu", k == 1 ? 3 : 1, 0));
        OK(crossentropy_forward_backward(dev, t, k < 2 ? d[k] : NULL, losses[k], &l, targets, scale));
        device_close(dev);
    }
    assert_memory_equal(d[0], d[1], bytes);
    assert_memory_equal(losses[0], losses[1], (size_t)N * 4);
    assert_memory_equal(losses[0], losses[2], (size_t)N * 4);
    widen(wide, d[0], t, n);
    for (i64 i = 0; i < N; i++) {
        const double *row = wx + i * ld;
        for (i64 v = V; v < ld; v++) assert_true(isnan(wide[i * ld + v]));
        if (targets[i] < 0) {
            assert_true(losses[0][i] == 0);
            for (i64 v = 0; v < V; v++) assert_true(wide[i * ld + v] == 0);
            continue;
        }
        /* A term of the sum: x - max is rounded once, an absolute error of at most `range` roundoffs and so a relative
         * one of exp, whose own is 4. Adding up to 1024 terms in at least 4 lanes: 256 + 8. The loss is rounded once;
         * a gradient takes 4 more: factor, product, difference, exp again. */
        double most = -INFINITY, least = INFINITY;
        for (i64 v = 0; v < V; v++) most = fmax(most, row[v]), least = fmin(least, row[v]);
        double range = most - least, u = (range + 4 + 264 + 1) * F32_ROUNDOFF;
        double loss = reference_loss(row, V, targets[i]);
        assert_true(fabs(losses[0][i] - loss) <= u + fabs(loss) * F32_ROUNDOFF);
        reference_gradient(want, row, V, targets[i], (double)scale);
        double distance = 0, size = 0;
        for (i64 v = 0; v < V; v++) {
            double terms = fabs(want[v]) + 2 * scale * (v == targets[i]); /* before p - 1 cancels */
            distance += (wide[i * ld + v] - want[v]) * (wide[i * ld + v] - want[v]), size += terms * terms;
        }
        double tolerance = u + (range + 8) * F32_ROUNDOFF + (t == BF16 ? BF16_ROUNDOFF : 0);
        assert_true(sqrt(distance) <= tolerance * sqrt(size));
    }
    if (t == lt) {
        device *dev;
        OK(device_open(&dev, "cpu", 3, 0));
        OK(crossentropy_forward_backward(dev, t, x, losses[2], &l, targets, scale));
        device_close(dev);
        assert_memory_equal(x, d[0], bytes);
        assert_memory_equal(losses[0], losses[2], (size_t)N * 4);
    }
    free(x), free(wide), free(wx), free(want), free(d[0]), free(d[1]), free(targets);
    for (int k = 0; k < 3; k++) free(losses[k]);
}

static void test_against_reference(void **state) {
    (void)state;
    const i64 shapes[][2] = {{1, 1}, {5, 2}, {9, 33}, {6, 1024}, {7, 5003}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (dtype t = F32; t <= BF16; t++)
            for (dtype lt = F32; lt <= t; lt++) {
                i64 N = shapes[i][0], V = shapes[i][1];
                check_case(t, lt, N, V, V, 1);
                check_case(t, lt, N, V, V + 3, 30); /* exp would overflow without subtracting the maximum */
            }
}

static void test_logits_that_are_not_finite(void **state) {
    (void)state;
    enum { V = 1500 };
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    const float values[3] = {NAN, INFINITY, -INFINITY};
    const int places[3] = {0, 3, V - 1};
    for (int k = 0; k < 3; k++)
        for (int p = 0; p < 3; p++) {
            float x[V] = {0}, d[V], loss;
            x[places[p]] = values[k];
            const crossentropy_logits l = {.x = x, .t = F32, .N = 1, .V = V, .ld = V};
            OK(crossentropy_forward_backward(dev, F32, d, &loss, &l, &(int32_t){3}, 1));
            assert_false(isfinite(loss));
            OK(crossentropy_forward_backward(dev, F32, d, &loss, &l, &(int32_t){-1}, 1));
            assert_true(loss == 0 && d[0] == 0 && d[V - 1] == 0);
        }
    device_close(dev);
}

static void test_bad_arguments(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    float x[4] = {0}, loss[2];
    int32_t targets[2] = {0, 2};
    crossentropy_logits l = {.x = x, .t = F32, .N = 2, .V = 2, .ld = 2};
    FAILS(DATA, "target 2 at 1, expected -1 to 1", crossentropy_forward_backward(dev, F32, x, loss, &l, targets, 1));
    targets[1] = -2;
    FAILS(DATA, "target -2 at 1", crossentropy_forward_backward(dev, F32, x, loss, &l, targets, 1));
    targets[1] = 0;
    FAILS(ARG, "in place", crossentropy_forward_backward(dev, BF16, x, loss, &l, targets, 1));
    l.t = BF16;
    FAILS(ARG, "expected bf16", crossentropy_forward_backward(dev, F32, x + 2, loss, &l, targets, 1));
    l.t = F32, l.V = 0;
    FAILS(ARG, "V 0", crossentropy_forward_backward(dev, F32, x, loss, &l, targets, 1));
    l.V = 2, l.ld = 1;
    FAILS(ARG, "at least V = 2", crossentropy_forward_backward(dev, F32, x, loss, &l, targets, 1));
    FAILS(ARG, "N 0", crossentropy_sum_losses(dev, &(double){0}, loss, 0, false));
    device_close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_by_differences),
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_logits_that_are_not_finite),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
