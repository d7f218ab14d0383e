/* Linear against float64, element by element: a sum of n terms in f32, in any order, is off by at most about
 * n * 2^-24 * (sum of the terms' magnitudes); a bf16 result is rounded once more, by 2^-8 of itself. */
#include "check.h"
#include "layers/linear.h"
#include "runtime/gemm.h"

static device *open_threads(int threads) {
    device *dev;
    OK(device_open(&dev, "cpu", threads, 0));
    return dev;
}

enum { MOST = 200 * 200 };

/* got against sum_{k<K} x[k sx] y[k sy] + added, rounded to t */
static void check_sum(const char *what, float got, const double *x, i64 sx, const double *y, i64 sy, i64 K,
                      double added, dtype t) {
    double sum = added, magnitude = fabs(added);
    for (i64 k = 0; k < K; k++) {
        double term = x[k * sx] * y[k * sy];
        sum += term, magnitude += fabs(term);
    }
    double bound = (double)(K + 2) * F32_ROUNDOFF * magnitude;
    if (t == BF16) bound += BF16_ROUNDOFF * (fabs(sum) + bound);
    if (!(fabs(got - sum) <= bound)) fail_msg("%s: got %.9g, expected %.9g, bound %.3g", what, got, sum, bound);
}

static void against_f64(dtype t, i64 N, i64 I, i64 O, bool with_bias, bool with_residual, bool accumulate) {
    static double x64[MOST], w64[MOST], b64[MOST], r64[MOST], dy64[MOST], dw64[MOST], db64[MOST], ones[MOST];
    static char x[MOST * 4], w[MOST * 4], b[MOST * 4], r[MOST * 4], y[MOST * 4], dy[MOST * 4], dx[MOST * 4];
    static float dw[MOST], db[MOST], wide[MOST];
    for (i64 i = 0; i < MOST; i++) ones[i] = 1;
    random_tensor(x, x64, t, N * I, 1, 1);
    random_tensor(w, w64, t, O * I, 1, 2);
    random_tensor(b, b64, t, O, 1, 3);
    random_tensor(r, r64, t, N * O, 1, 4);
    random_tensor(dy, dy64, t, N * O, 1, 5);
    random_tensor(dw, dw64, F32, O * I, 1, 6);
    random_tensor(db, db64, F32, O, 1, 7);
    device *dev = open_threads(2);

    linear l = {.w = w, .dw = dw, .accumulate = accumulate, .I = I, .O = O};
    if (with_bias) l.b = b, l.db = db;
    OK(linear_forward(dev, t, y, x, &l, with_residual ? r : NULL, N));
    widen(wide, y, t, N * O);
    for (i64 n = 0; n < N; n++)
        for (i64 o = 0; o < O; o++) {
            double added = (with_bias ? b64[o] : 0) + (with_residual ? r64[n * O + o] : 0);
            check_sum("y", wide[n * O + o], x64 + n * I, 1, w64 + o * I, 1, I, added, t);
        }
    if (with_residual) { /* y may be residual: the same bits */
        OK(linear_forward(dev, t, r, x, &l, r, N));
        widen(wide, r, t, N * O);
        for (i64 n = 0; n < N; n++)
            for (i64 o = 0; o < O; o++) {
                double added = (with_bias ? b64[o] : 0) + r64[n * O + o];
                check_sum("y in place", wide[n * O + o], x64 + n * I, 1, w64 + o * I, 1, I, added, t);
            }
    }

    OK(linear_backward(dev, t, dx, dy, x, &l, N));
    widen(wide, dx, t, N * I);
    for (i64 n = 0; n < N; n++)
        for (i64 i = 0; i < I; i++) check_sum("dx", wide[n * I + i], dy64 + n * O, 1, w64 + i, I, O, 0, t);
    for (i64 o = 0; o < O; o++) {
        for (i64 i = 0; i < I; i++)
            check_sum("dw", dw[o * I + i], dy64 + o, O, x64 + i, I, N, accumulate ? dw64[o * I + i] : 0, F32);
        if (with_bias) check_sum("db", db[o], dy64 + o, O, ones, 1, N, accumulate ? db64[o] : 0, F32);
        else assert_true(db[o] == (float)db64[o]);
    }
    device_close(dev);
}

static void shapes(void **state) {
    (void)state;
    static const i64 sizes[][3] = {{1, 1, 1},    {1, 40, 7},     {5, 1, 3},    {3, 5, 1},
                                   {31, 64, 65}, {130, 17, 150}, {70, 96, 130}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int t = 0; t < 2; t++)
            for (int how = 0; how < 8; how++)
                against_f64(t ? BF16 : F32, sizes[s][0], sizes[s][1], sizes[s][2], how & 1, how & 2, how & 4);
}

/* Central differences of L = sum(y * dy), exact for a linear function but for rounding. With |values| of order 1, I =
 * 12 and N*O = 77 terms in f64 over an f32 y, a difference of 2h = 2 is off by at most 77 * 14 roundings of about 12/2.
 */
static void finite_differences(void **state) {
    (void)state;
    enum { N = 7, I = 12, O = 11 };
    const double tolerance = 77 * 14 * 6 * F32_ROUNDOFF;
    static float x[N * I], w[O * I], b[O], dy[N * O], y[N * O], dx[N * I], dw[O * I], db[O];
    random_tensor(x, NULL, F32, N * I, 0.5f, 1);
    random_tensor(w, NULL, F32, O * I, 0.5f, 2);
    random_tensor(b, NULL, F32, O, 0.5f, 3);
    random_tensor(dy, NULL, F32, N * O, 0.5f, 4);
    device *dev = open_threads(1);
    const linear l = {.w = w, .b = b, .dw = dw, .db = db, .I = I, .O = O};
    OK(linear_backward(dev, F32, dx, dy, x, &l, N));
    struct {
        float *value, *gradient;
        int n;
    } inputs[] = {{x, dx, N * I}, {w, dw, O * I}, {b, db, O}};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < inputs[k].n; i++) {
            float saved = inputs[k].value[i];
            double loss[2];
            for (int side = 0; side < 2; side++) {
                inputs[k].value[i] = saved + (side ? 1.0f : -1.0f);
                gemm_weights_changed(dev);
                OK(linear_forward(dev, F32, y, x, &l, NULL, N));
                loss[side] = 0;
                for (int j = 0; j < N * O; j++) loss[side] += (double)y[j] * (double)dy[j];
            }
            inputs[k].value[i] = saved;
            double difference = (loss[1] - loss[0]) / 2;
            if (!(fabs(difference - inputs[k].gradient[i]) <= tolerance))
                fail_msg("input %d, element %d: gradient %.7g, difference %.7g", k, i, inputs[k].gradient[i],
                         difference);
        }
    device_close(dev);
}

static void threads_do_not_change_the_bias_gradient(void **state) {
    (void)state;
    enum { N = 333, I = 3, O = 517 };
    static bf16 x[N * I], w[O * I], dy[N * O];
    static float dw[O * I], db[2][O];
    random_tensor(x, NULL, BF16, N * I, 1, 1);
    random_tensor(w, NULL, BF16, O * I, 1, 2);
    random_tensor(dy, NULL, BF16, N * O, 1, 3);
    for (int k = 0; k < 2; k++) {
        device *dev = open_threads(k ? 3 : 1);
        linear l = {.w = w, .dw = dw, .db = db[k], .I = I, .O = O};
        OK(linear_backward(dev, BF16, NULL, dy, x, &l, N));
        l.accumulate = true;
        OK(linear_backward(dev, BF16, NULL, dy, x, &l, N));
        device_close(dev);
    }
    assert_memory_equal(db[0], db[1], sizeof db[0]);
}

static void work_is_counted(void **state) {
    (void)state;
    enum { N = 4, I = 5, O = 6 };
    static float x[N * I], w[O * I], y[N * O], dx[N * I], dw[O * I];
    const uint64_t product = 2 * N * I * O;
    const linear l = {.w = w, .dw = dw, .I = I, .O = O};
    device *dev = open_threads(1);
    OK(linear_forward(dev, F32, y, x, &l, NULL, N));
    dev->recomputing = true;
    OK(linear_forward(dev, F32, y, x, &l, NULL, N));
    OK(linear_forward(dev, F32, y, x, &l, NULL, N));
    dev->recomputing = false;
    OK(linear_backward(dev, F32, dx, y, x, &l, N));
    OK(linear_backward(dev, F32, NULL, y, x, &l, N)); /* no gradient of x: not computed */
    const uint64_t expected[WORK_KINDS] = {product, 2 * product, product, 2 * product};
    for (int k = 0; k < WORK_KINDS; k++) assert_int_equal(dev->flops.work[k], expected[k]);
    device_close(dev);
}

static void bad_arguments(void **state) {
    (void)state;
    static float x[4], w[4], y[4];
    device *dev = open_threads(1);
    linear l = {.w = w, .I = 2, .O = 2};
    FAILS(ARG, "linear: N 0", linear_forward(dev, F32, y, x, &l, NULL, 0));
    FAILS(ARG, "NULL", linear_backward(dev, F32, y, y, x, &l, 2));
    l.dw = x, l.O = -1;
    FAILS(ARG, "O -1", linear_backward(dev, F32, y, y, x, &l, 2));
    device_close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(finite_differences),
        cmocka_unit_test(threads_do_not_change_the_bias_gradient),
        cmocka_unit_test(work_is_counted),
        cmocka_unit_test(bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
