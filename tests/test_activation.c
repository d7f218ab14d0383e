#include "layers/activation.h"

#include "tests/check.h"

static double gelu(double x) { return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))); }

static double gelu_slope(double x) {
    double c = sqrt(2 / acos(-1)), th = tanh(c * (x + 0.044715 * x * x * x));
    return (1 + th) / 2 + x / 2 * (1 - th * th) * c * (1 + 3 * 0.044715 * x * x);
}

static double silu(double a) { return a / (1 + exp(-a)); }

static double silu_slope(double a) {
    double s = 1 / (1 + exp(-a));
    return s * (1 + a * (1 - s));
}

/* central differences in f64: h^2 and 1e-16/h are both near 1e-11 */
static void test_slopes_by_differences(void **state) {
    (void)state;
    const double h = 1e-5;
    for (double x = -8; x <= 8; x += 0.37) {
        assert_true(fabs((gelu(x + h) - gelu(x - h)) / (2 * h) - gelu_slope(x)) < 1e-8);
        assert_true(fabs((silu(x + h) - silu(x - h)) / (2 * h) - silu_slope(x)) < 1e-8);
    }
}

/* Roundings between the value and its reference: up to 7 of the argument of exp (its error reaches the result times
 * |z| (1 - sigmoid z) < 0.3 where the result is not tiny), 4 of exp (2 ulp), and up to 9 after it. */
static double tolerance(dtype t) { return 20 * F32_ROUNDOFF + (t == BF16 ? BF16_ROUNDOFF : 0); }

static void check_tensor(const char *what, const void *got, dtype t, const double *want, i64 n) {
    float *wide = malloc((size_t)n * 4);
    widen(wide, got, t, n);
    check_close(what, wide, want, n, tolerance(t));
    free(wide);
}

static void check_gelu(dtype t, i64 N, i64 F) {
    i64 n = N * F;
    size_t bytes = (size_t)n * dtype_bytes(t);
    void *x = malloc(bytes), *dy = malloc(bytes), *y[2] = {malloc(bytes), malloc(bytes)};
    void *dx[2] = {malloc(bytes), malloc(bytes)};
    double *wx = malloc((size_t)n * 8), *wdy = malloc((size_t)n * 8), *want = malloc((size_t)n * 8);
    random_tensor(x, wx, t, n, 2, 1);
    random_tensor(dy, wdy, t, n, 1, 2);
    for (int k = 0; k < 2; k++) {
        device *dev;
        OK(device_open(&dev, "cpu", k ? 3 : 1, 0));
        OK(activation_gelu_forward(dev, t, y[k], x, N, F));
        memcpy(dx[k], dy, bytes);
        OK(activation_gelu_backward(dev, t, dx[k], k ? dx[k] : dy, x, N, F)); /* once in place */
        device_close(dev);
    }
    assert_memory_equal(y[0], y[1], bytes);
    assert_memory_equal(dx[0], dx[1], bytes);
    for (i64 i = 0; i < n; i++) want[i] = gelu(wx[i]);
    check_tensor("gelu", y[0], t, want, n);
    for (i64 i = 0; i < n; i++) want[i] = wdy[i] * gelu_slope(wx[i]);
    check_tensor("gelu's gradient", dx[0], t, want, n);
    free(x), free(dy), free(y[0]), free(y[1]), free(dx[0]), free(dx[1]), free(wx), free(wdy), free(want);
}

static void check_swiglu(dtype t, i64 N, i64 F) {
    i64 n = N * F;
    size_t bytes = (size_t)n * dtype_bytes(t);
    void *x = malloc(2 * bytes), *dy = malloc(bytes), *y[2] = {malloc(bytes), malloc(bytes)};
    void *dx[2] = {malloc(2 * bytes), malloc(2 * bytes)};
    double *wx = malloc((size_t)n * 16), *wdy = malloc((size_t)n * 8), *want = malloc((size_t)n * 16);
    random_tensor(x, wx, t, 2 * n, 2, 1);
    random_tensor(dy, wdy, t, n, 1, 2);
    for (int k = 0; k < 2; k++) {
        device *dev;
        OK(device_open(&dev, "cpu", k ? 3 : 1, 0));
        OK(activation_swiglu_forward(dev, t, y[k], x, N, F));
        OK(activation_swiglu_backward(dev, t, dx[k], dy, x, N, F));
        device_close(dev);
    }
    assert_memory_equal(y[0], y[1], bytes);
    assert_memory_equal(dx[0], dx[1], 2 * bytes);
    for (i64 i = 0; i < n; i++) {
        i64 gate = i / F * 2 * F + i % F;
        want[i] = silu(wx[gate]) * wx[gate + F];
    }
    check_tensor("swiglu", y[0], t, want, n);
    for (i64 i = 0; i < n; i++) {
        i64 gate = i / F * 2 * F + i % F;
        want[gate] = wdy[i] * wx[gate + F] * silu_slope(wx[gate]);
        want[gate + F] = wdy[i] * silu(wx[gate]);
    }
    check_tensor("swiglu's gradient", dx[0], t, want, 2 * n);
    free(x), free(dy), free(y[0]), free(y[1]), free(dx[0]), free(dx[1]), free(wx), free(wdy), free(want);
}

static void test_against_reference(void **state) {
    (void)state;
    const i64 shapes[][2] = {{1, 1}, {3, 7}, {5, 1024}, {2, 2500}, {33, 100}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (dtype t = F32; t <= BF16; t++) {
            check_gelu(t, shapes[i][0], shapes[i][1]);
            check_swiglu(t, shapes[i][0], shapes[i][1]);
        }
}

static void test_far_ends(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    float x[4] = {-50, 50, NAN, 0}, ones[4] = {1, 1, 1, 1}, y[4], dx[4];
    OK(activation_gelu_forward(dev, F32, y, x, 1, 4));
    OK(activation_gelu_backward(dev, F32, dx, ones, x, 1, 4));
    assert_true(y[0] == 0 && y[1] == 50 && isnan(y[2]) && y[3] == 0);
    assert_true(dx[0] == 0 && dx[1] == 1 && isnan(dx[2]) && dx[3] == 0.5f);
    float pair[6] = {-200, 200, NAN, 3, 3, 3}, d[6];
    OK(activation_swiglu_forward(dev, F32, y, pair, 1, 3));
    OK(activation_swiglu_backward(dev, F32, d, ones, pair, 1, 3));
    assert_true(y[0] == 0 && y[1] == 600 && isnan(y[2]));
    assert_true(d[0] == 0 && d[1] == 3 && isnan(d[2]) && d[3] == 0 && d[4] == 200 && isnan(d[5]));
    device_close(dev);
}

/* gelu far below zero: tanh is -1 to the last bit there, yet the value is not 0. The argument z of exp is good to 7
 * roundings, of which |z| <= 20 makes 140 in the result; 16 more after it. */
static void test_small_values_keep_their_digits(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    for (float x = -4.5f; x < -0.5f; x += 0.25f) {
        float y;
        OK(activation_gelu_forward(dev, F32, &y, &x, 1, 1));
        double z = 2 * sqrt(2 / acos(-1)) * ((double)x + 0.044715 * pow((double)x, 3)), want = x / (1 + exp(-z));
        assert_true(fabs(y - want) <= 156 * F32_ROUNDOFF * fabs(want));
    }
    device_close(dev);
}

static void test_bad_arguments(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    float x[2] = {0};
    FAILS(ARG, "N 0", activation_gelu_forward(dev, F32, x, x, 0, 1));
    FAILS(ARG, "F 0", activation_gelu_backward(dev, F32, x, x, x, 1, 0));
    FAILS(ARG, "N -1", activation_swiglu_forward(dev, F32, x, x, -1, 1));
    FAILS(ARG, "F 0", activation_swiglu_backward(dev, F32, x, x, x, 1, 0));
    device_close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slopes_by_differences),
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_far_ends),
        cmocka_unit_test(test_small_values_keep_their_digits),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
