#include "layers/rope.h"

#include "tests/check.h"

static void test_table(void **state) {
    (void)state;
    enum { P = 50, D = 10 };
    float c[P * D / 2], s[P * D / 2];
    rope_table(c, s, P, D, (rope_scaling){.theta = 10000});
    for (int p = 0; p < P; p++)
        for (int j = 0; j < D / 2; j++) {
            double angle = p / pow(10000, 2.0 * j / D);
            /* one rounding to f32; the angle, of up to 49, is good to a few f64 roundings */
            assert_true(fabs(c[p * (D / 2) + j] - cos(angle)) <= 1.001 * F32_ROUNDOFF);
            assert_true(fabs(s[p * (D / 2) + j] - sin(angle)) <= 1.001 * F32_ROUNDOFF);
        }
}

/* Llama 3.1's numbers: wavelengths up to 8192/4 stay, those over 8192/1 are stretched by 8, between them a blend */
static void test_llama3_scaling(void **state) {
    (void)state;
    enum { D = 128 };
    float c[2 * D / 2], s[2 * D / 2]; /* at position 1 the angle is the frequency */
    rope_table(
        c, s, 2, D,
        (rope_scaling){
            .theta = 500000, .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_context = 8192});
    int kept = 0, blended = 0, stretched = 0;
    for (int j = 0; j < D / 2; j++) {
        double f = exp(-2.0 * j / D * log(500000)), turns = 8192 * f / (2 * acos(-1)), want;
        if (turns > 4) want = f, kept++;
        else if (turns < 1) want = f / 8, stretched++;
        else want = f / 8 + (turns - 1) / 3 * (f - f / 8), blended++;
        /* sin(f) rounded once; f itself is known to a few f64 roundings */
        assert_true(fabs(s[D / 2 + j] - sin(want)) <= 1.001 * F32_ROUNDOFF * sin(want));
    }
    assert_true(kept > 20 && blended > 3 && stretched > 20);
}

static void check_case(dtype t, i64 B, i64 T, i64 G, i64 D, i64 ld, i64 first) {
    i64 n = B * T * ld, half = D / 2, positions = first + T;
    size_t bytes = (size_t)n * dtype_bytes(t);
    void *x = malloc(bytes), *y[2] = {malloc(bytes), malloc(bytes)};
    double *want = malloc((size_t)n * 8), *wide = malloc((size_t)n * 8);
    float *got = malloc((size_t)n * 4);
    float *c = malloc((size_t)(positions * half) * 4), *s = malloc((size_t)(positions * half) * 4);
    rope_table(c, s, positions, D, (rope_scaling){.theta = 10000});
    const rope r = {.cos = c, .sin = s, .positions = positions, .D = D};
    const rope_shape shape = {.B = B, .T = T, .G = G, .ld = ld};
    random_tensor(x, wide, t, n, 1, 7);
    memcpy(want, wide, (size_t)n * 8);
    for (i64 row = 0; row < B * T; row++)
        for (i64 h = 0; h < G; h++)
            for (i64 j = 0; j < half; j++) {
                double angle = (double)(first + row % T) * pow(10000, -2.0 * (double)j / (double)D);
                i64 a = row * ld + h * D + j, b = a + half;
                want[a] = wide[a] * cos(angle) - wide[b] * sin(angle);
                want[b] = wide[b] * cos(angle) + wide[a] * sin(angle);
            }
    for (int k = 0; k < 2; k++) {
        device *dev;
        OK(device_open(&dev, "cpu", k ? 3 : 1, 0));
        memcpy(y[k], x, bytes);
        OK(rope_forward(dev, t, y[k], &r, shape, first));
        device_close(dev);
    }
    assert_memory_equal(y[0], y[1], bytes); /* the gaps between rows too: they are in `want` unchanged */
    widen(got, y[0], t, n);
    /* cosine and sine, two products and their sum: 4 roundings a term */
    double tolerance = 4 * F32_ROUNDOFF + (t == BF16 ? BF16_ROUNDOFF : 0);
    check_close("rotated", got, want, n, tolerance);
    if (first == 0) {
        device *dev;
        OK(device_open(&dev, "cpu", 3, 0));
        OK(rope_backward(dev, t, y[0], &r, shape));
        device_close(dev);
        widen(got, y[0], t, n);
        check_close("rotated back", got, wide, n, 2 * tolerance);
    }
    free(x), free(y[0]), free(y[1]), free(want), free(wide), free(got), free(c), free(s);
}

static void test_against_reference(void **state) {
    (void)state;
    for (dtype t = F32; t <= BF16; t++) {
        check_case(t, 1, 1, 1, 2, 2, 0);
        check_case(t, 2, 5, 3, 10, 33, 0);
        check_case(t, 2, 3, 2, 64, 128, 0);
        check_case(t, 1, 4, 2, 1024, 2048, 0);
        check_case(t, 3, 1, 2, 128, 300, 41);
    }
}

static void test_bad_arguments(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    float x[8] = {0};
    rope r = {.cos = x, .sin = x, .positions = 4, .D = 4};
    FAILS(ARG, "T 0", rope_forward(dev, F32, x, &r, (rope_shape){.B = 1, .T = 0, .G = 1, .ld = 8}, 0));
    FAILS(ARG, "G*D = 8", rope_backward(dev, F32, x, &r, (rope_shape){.B = 1, .T = 1, .G = 2, .ld = 7}));
    rope_shape s = {.B = 1, .T = 1, .G = 1, .ld = 8192};
    FAILS(ARG, "positions -1 to 0, expected within 0 to 4", rope_forward(dev, F32, x, &r, s, -1));
    FAILS(ARG, "positions 4 to 5, expected within 0 to 4", rope_forward(dev, F32, x, &r, s, 4));
    r.D = 3;
    FAILS(ARG, "even number", rope_forward(dev, F32, x, &r, s, 0));
    r.D = 2048;
    FAILS(ARG, "even number", rope_forward(dev, F32, x, &r, s, 0));
    device_close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_llama3_scaling),
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
