#include "layers/rope.h"

#include "tests/starts.h"

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
    rope_table(c, s, 2, D,
               (rope_scaling){.theta = 500000,
                              .type = ROPE_LLAMA3,
                              .factor = 8,
                              .low_freq_factor = 1,
                              .high_freq_factor = 4,
                              .original_context = 8192});
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

/* Frequencies and factors that transformers 5.24 computes (ROPE_INIT_FUNCTIONS, float32) for theta 10000 and these settings.
 * They round f32 some five times on the way, ours once: 5 * 2^-24 relative each. */
static void test_scalings_of_transformers(void **state) {
    (void)state;
    enum { D = 16 };
    static const struct {
        rope_scaling s;
        double frequencies[D / 2];
    } cases[] = {
        {{.theta = 10000, .type = ROPE_LINEAR, .factor = 2.5},
         {0.400000006, 0.1264911, 0.0399999991, 0.0126491114, 0.00399999972, 0.00126491114, 0.000400000019,
          0.000126491112}},
        {{.theta = 10000, .type = ROPE_DYNAMIC, .factor = 4},
         {1, 0.316227764, 0.100000001, 0.0316227786, 0.00999999978, 0.00316227786, 0.00100000005, 0.000316227786}},
        {{.theta = 10000,
          .type = ROPE_YARN,
          .factor = 4,
          .original_context = 256,
          .beta_fast = 32,
          .beta_slow = 1,
          .attention_factor = 1,
          .truncate = true},
         {1, 0.25693506, 0.0625, 0.0138349654, 0.00249999994, 0.000790569466, 0.000250000012, 7.90569466e-05}},
        {{.theta = 10000,
          .type = ROPE_YARN,
          .factor = 8,
          .original_context = 256,
          .beta_fast = 6,
          .beta_slow = 2,
          .attention_factor = 1.25},
         {1, 0.316227764, 0.0691734999, 0.00395284733, 0.00124999997, 0.000395284733, 0.000125000006, 3.95284733e-05}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float c[2 * D / 2], s[2 * D / 2];
        double scale = cases[i].s.type == ROPE_YARN ? cases[i].s.attention_factor : 1;
        rope_table(c, s, 2, D, cases[i].s);
        for (int j = 0; j < D / 2; j++) {
            double f = cases[i].frequencies[j];
            assert_true(fabs(c[j] - scale) <= F32_ROUNDOFF * scale && s[j] == 0); /* at position 0 */
            assert_true(fabs(s[D / 2 + j] - scale * sin(f)) <= 6 * F32_ROUNDOFF * scale * f);
            assert_true(fabs(c[D / 2 + j] - scale * cos(f)) <= 6 * F32_ROUNDOFF * scale);
        }
    }
}

static void check_case_of(dtype t, rope_shape shape, i64 D, i64 first) {
    const i64 B = shape.B, T = shape.T, G = shape.G, ld = shape.ld;
    i64 n = B * T * ld, half = D / 2, positions = first + T;
    size_t bytes = (size_t)n * dtype_bytes(t);
    void *x = malloc(bytes), *y[2] = {malloc(bytes), malloc(bytes)};
    double *want = malloc((size_t)n * 8), *wide = malloc((size_t)n * 8);
    float *got = malloc((size_t)n * 4);
    float *c = malloc((size_t)(positions * half) * 4), *s = malloc((size_t)(positions * half) * 4);
    rope_table(c, s, positions, D, (rope_scaling){.theta = 10000});
    const rope r = {.cos = c, .sin = s, .positions = positions, .D = D};
    random_tensor(x, wide, t, n, 1, 7);
    memcpy(want, wide, (size_t)n * 8);
    for (i64 row = 0; row < B * T; row++)
        for (i64 h = 0; h < G; h++)
            for (i64 j = 0; j < half; j++) {
                i64 position = first + row % T - (shape.starts ? shape.starts[row] : 0);
                double angle = (double)position * pow(10000, -2.0 * (double)j / (double)D);
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

static void check_case(dtype t, i64 B, i64 T, i64 G, i64 D, i64 ld, i64 first) {
    check_case_of(t, (rope_shape){.B = B, .T = T, .G = G, .ld = ld}, D, first);
}

static void test_documents_against_reference(void **state) {
    (void)state;
    for (dtype t = F32; t <= BF16; t++) {
        int32_t *starts = starts_draw(3, 50, 9);
        check_case_of(t, (rope_shape){.B = 3, .T = 50, .G = 2, .ld = 33, .starts = starts}, 10, 0);
        free(starts);
    }
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
        cmocka_unit_test(test_scalings_of_transformers),
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_documents_against_reference),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
