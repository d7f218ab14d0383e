#include "tests/check.h"

#include "runtime/simd.h"

static float from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static uint32_t to_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

/* in a clone, as the kernels use it */
SIMD_CLONES static void exp_all(float *y, const float *x, i64 n) {
    for (i64 i = 0; i < n; i++) y[i] = simd_expf(x[i]);
}

static void test_exp(void **state) {
    (void)state;
    enum { N = 1000003 };
    float *x = malloc(N * 4), *y = malloc(N * 4);
    for (i64 i = 0; i < N; i++) x[i] = (float)(-87.3365 + (88.7228 + 87.3365) * (double)i / (N - 1));
    exp_all(y, x, N);
    for (i64 i = 0; i < N; i++) {
        double want = exp((double)x[i]);
        if (!(fabs(y[i] - want) <= 2 * 0x1p-23 * want)) /* 2 ulp, as promised */
            fail_msg("exp(%.9g) = %.9g, expected %.9g", (double)x[i], (double)y[i], want);
    }
    free(x), free(y);
}

static void test_exp_ends(void **state) {
    (void)state;
    float x[9] = {0, -0.0f, INFINITY, -INFINITY, 88.73f, 1e30f, -87.34f, -1e30f, 1e-40f};
    float want[9] = {1, 1, INFINITY, 0, INFINITY, INFINITY, 0, 0, 1}, y[9];
    exp_all(y, x, 9);
    for (int i = 0; i < 9; i++)
        if (y[i] != want[i]) fail_msg("exp(%g) = %g, expected %g", (double)x[i], (double)y[i], (double)want[i]);
    const uint32_t nans[5] = {0x7fc00000, 0x7fffffff, 0xffc00001, 0x7f800001, 0xffabcdef};
    for (int i = 0; i < 5; i++) {
        float nan = from_bits(nans[i]), out;
        exp_all(&out, &nan, 1);
        assert_true(isnan(out));
    }
}

/* every bf16 as upper half, with lower halves around the rounding boundaries */
static void test_store_rounds_to_nearest(void **state) {
    (void)state;
    const uint32_t lower[7] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1234};
    enum { N = 7 * 65536 };
    float *x = malloc(N * 4);
    bf16 *y = malloc(N * 2);
    for (uint32_t i = 0; i < N; i++) x[i] = from_bits((i / 7) << 16 | lower[i % 7]);
    simd_store_f32(y, x, BF16, N);
    for (i64 i = 0; i < N; i++)
        if (y[i] != bf16_from_f32(x[i]))
            fail_msg("%08x stored as %04x, expected %04x", to_bits(x[i]), y[i], bf16_from_f32(x[i]));
    free(x), free(y);
}

static void test_load_store(void **state) {
    (void)state;
    for (i64 n = 0; n < 70; n++) {
        bf16 narrow[70], again[70];
        float wide[70], copy[70];
        for (i64 i = 0; i < n; i++) narrow[i] = (bf16)(i * 937);
        simd_load_f32(wide, narrow, BF16, n);
        for (i64 i = 0; i < n; i++) assert_int_equal(to_bits(wide[i]), (uint32_t)narrow[i] << 16);
        simd_store_f32(again, wide, BF16, n);
        assert_memory_equal(again, narrow, (size_t)n * 2);
        simd_load_f32(copy, wide, F32, n);
        assert_memory_equal(copy, wide, (size_t)n * 4);
        assert_ptr_equal(simd_view_f32(copy, wide, F32, n), wide);
        assert_ptr_equal(simd_view_f32(copy, narrow, BF16, n), copy);
    }
}

static void test_columns(void **state) {
    (void)state;
    assert_int_equal(simd_columns(768, 4), 192);
    assert_int_equal(simd_columns(768, 5), 160);
    assert_int_equal(simd_columns(1, 4), 16);
    assert_int_equal(simd_columns(16384, 1), SIMD_CHUNK);
    assert_int_equal(simd_chunk(5000), SIMD_CHUNK);
    assert_int_equal(simd_chunk(7), 7);
}

/* known answers published with Random123 for philox4x32 of 10 rounds */
static void test_philox(void **state) {
    (void)state;
    const uint32_t zeros[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    const uint32_t ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    philox_block a = philox(0, 0, 0), b = philox(UINT64_MAX, UINT64_MAX, UINT64_MAX);
    assert_memory_equal(a.v, zeros, sizeof zeros);
    assert_memory_equal(b.v, ones, sizeof ones);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_exp_ends),
        cmocka_unit_test(test_store_rounds_to_nearest),
        cmocka_unit_test(test_load_store),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_philox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
