/* GEMM against float64, element by element. A sum of n terms in f32, in any order and fused or not, is off
 * by at most about n * 2^-24 * (sum of the terms' magnitudes); D in bf16 is rounded once more, by 2^-8 of itself. */
#include "check.h"
#include "runtime/gemm.h"

#include <string.h>

static device *dev;

static int open_device(void **state) {
    (void)state;
    OK(device_open(&dev, "cpu", 2, 0));
    return 0;
}

static int close_device(void **state) {
    (void)state;
    device_close(dev);
    return 0;
}

enum { MOST = 150 * 260 }; /* elements of the largest matrix here */

typedef enum { NONE, SEPARATE, IN_D } residual_kind;

/* what a product is made of, beside the numbers: how the row strides exceed the rows, and how far A, B and D begin
 * behind an address aligned to 64 bytes, in elements */
typedef struct {
    gemm_args g;
    residual_kind residual;
    bool bias;
    i64 pad_a, pad_b, pad_d, offset;
} product_case;

static double a64[MOST], b64[MOST], d64[MOST], r64[MOST], bias64[MOST];
static char a[MOST * 4] __attribute__((aligned(64))), b[MOST * 4] __attribute__((aligned(64)));
static char d[MOST * 4] __attribute__((aligned(64))), r[MOST * 4] __attribute__((aligned(64)));
static char bias[MOST * 4] __attribute__((aligned(64)));

static const char *describe(const product_case *p) {
    static char text[256];
    const gemm_args *g = &p->g;
    snprintf(
        text, sizeof text,
        "M %d N %d K %d lda %d ldb %d ldd %d trans %d%d %s -> %s bias %d residual %d accumulate %d weight %d offset %d",
        (int)g->M, (int)g->N, (int)g->K, (int)g->lda, (int)g->ldb, (int)g->ldd, g->trans_a, g->trans_b,
        dtype_name(g->ab), dtype_name(g->d), p->bias, p->residual, g->accumulate, g->b_is_weight, (int)p->offset);
    return text;
}

/* The number of elements that are further from the product in f64 than roundings explain; elements between the rows
 * of D that were written count too. */
static int wrong_elements(product_case *p) {
    gemm_args *g = &p->g;
    i64 a_rows = g->trans_a ? g->K : g->M, b_rows = g->trans_b ? g->N : g->K;
    g->lda = (g->trans_a ? g->M : g->K) + p->pad_a;
    g->ldb = (g->trans_b ? g->K : g->N) + p->pad_b;
    g->ldd = g->N + p->pad_d;
    char *at_a = a + p->offset * (i64)dtype_bytes(g->ab), *at_b = b + p->offset * (i64)dtype_bytes(g->ab);
    char *at_d = d + p->offset * (i64)dtype_bytes(g->d), *at_r = r + p->offset * (i64)dtype_bytes(g->d);
    random_tensor(at_a, a64, g->ab, a_rows * g->lda, 1, 1);
    random_tensor(at_b, b64, g->ab, b_rows * g->ldb, 1, 2);
    random_tensor(at_d, d64, g->d, g->M * g->ldd, 1, 3);
    random_tensor(at_r, r64, g->d, g->M * g->ldd, 1, 4);
    random_tensor(bias, bias64, g->ab, g->N, 1, 5);
    g->A = at_a, g->B = at_b, g->D = at_d;
    g->bias = p->bias ? bias : NULL;
    g->residual = p->residual == NONE ? NULL : p->residual == IN_D ? at_d : at_r;
    gemm_weights_changed(dev);
    OK(gemm(dev, g));
    static float got[MOST];
    widen(got, at_d, g->d, g->M * g->ldd);
    int wrong = 0;
    for (i64 m = 0; m < g->M; m++) {
        for (i64 n = 0; n < g->N; n++) {
            double sum = 0, magnitude = 0;
            for (i64 k = 0; k < g->K; k++) {
                double term = a64[g->trans_a ? k * g->lda + m : m * g->lda + k];
                term *= b64[g->trans_b ? n * g->ldb + k : k * g->ldb + n];
                sum += term, magnitude += fabs(term);
            }
            double added[3] = {0};
            if (p->bias) added[0] = bias64[n];
            if (p->residual == SEPARATE) added[1] = r64[m * g->ldd + n];
            if (p->residual == IN_D || g->accumulate) added[2] = d64[m * g->ldd + n];
            for (int i = 0; i < 3; i++) sum += added[i], magnitude += fabs(added[i]);
            double bound = (double)(g->K + 2) * F32_ROUNDOFF * magnitude;
            if (g->d == BF16) bound += BF16_ROUNDOFF * (fabs(sum) + bound);
            wrong += !(fabs(got[m * g->ldd + n] - sum) <= bound);
        }
        for (i64 n = g->N; n < g->ldd; n++) wrong += got[m * g->ldd + n] != (float)d64[m * g->ldd + n];
    }
    return wrong;
}

static const dtype types[][2] = {{F32, F32}, {BF16, BF16}, {BF16, F32}};
enum { WAYS = 14 }; /* of bias, residual, accumulation and packing */

/* false: not available in these dtypes */
static bool choose_way(product_case *p, int type, int trans, int way) {
    p->g.ab = types[type][0], p->g.d = types[type][1];
    p->g.trans_a = trans & 1, p->g.trans_b = trans & 2;
    p->g.b_is_weight = way & 1;
    p->g.accumulate = way >= 12;
    p->bias = way < 12 && way & 2;
    p->residual = way < 12 ? (residual_kind)(way / 4) : NONE;
    return p->g.accumulate ? p->g.d == F32 : !p->bias || p->g.d == p->g.ab;
}

static void check_product(product_case p) {
    int wrong = wrong_elements(&p);
    if (wrong) fail_msg("%s: %d wrong of %d", describe(&p), wrong, (int)(p.g.M * p.g.N));
}

static void every_combination(void **state) {
    (void)state;
    static const i64 sizes[][3] = {{1, 37, 5}, {37, 1, 5}, {17, 33, 65}, {64, 96, 32}, {130, 67, 141}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int type = 0; type < 3; type++)
            for (int trans = 0; trans < 4; trans++)
                for (int way = 0; way < WAYS; way++) {
                    product_case p = {.g = {.M = sizes[s][0], .N = sizes[s][1], .K = sizes[s][2]}};
                    p.pad_a = p.pad_b = p.pad_d = 3;
                    if (choose_way(&p, type, trans, way)) check_product(p);
                }
}

/* Sizes of 1, of less than a vector and of a vector and a bit, each in rows that are dense and in rows that are not:
 * a matrix of one row or one column has two strides of which only one means anything, and libraries take the wrong one. */
static void small_sizes_and_strides(void **state) {
    (void)state;
    static const i64 sizes[] = {1, 2, 7, 33};
    int way = 0;
    for (int size = 0; size < 64; size++)
        for (int type = 0; type < 3; type++)
            for (int trans = 0; trans < 4; trans++)
                for (int pads = 0; pads < 4; pads++) {
                    product_case p = {.g = {.M = sizes[size & 3], .N = sizes[size >> 2 & 3], .K = sizes[size >> 4]}};
                    p.pad_a = pads & 1 ? 3 : 0, p.pad_b = pads & 2 ? 5 : 0, p.pad_d = pads == 3 ? 1 : 0;
                    p.offset = pads;
                    while (!choose_way(&p, type, trans, way++ % WAYS)) continue;
                    check_product(p);
                }
}

/* Small integers and quarters: every sum is exact in f32, so D must be the exact value rounded once. */
static void rounded_once(void **state) {
    (void)state;
    enum { M = 33, N = 70, K = 50 };
    static bf16 x[M * K], w[N * K], y[M * N], add[M * N], each[N];
    for (int in_place = 0; in_place < 2; in_place++) {
        for (int i = 0; i < M * K; i++) x[i] = bf16_from_f32((float)(i * 7 % 23 - 11));
        for (int i = 0; i < N * K; i++) w[i] = bf16_from_f32((float)(i * 5 % 17 - 8));
        for (int i = 0; i < M * N; i++) y[i] = add[i] = bf16_from_f32((float)(i % 29 - 14) * 0.25f);
        for (int i = 0; i < N; i++) each[i] = bf16_from_f32((float)(i % 13 - 6) * 0.5f);
        gemm_weights_changed(dev);
        OK(gemm(dev, &(gemm_args){.M = M,
                                  .N = N,
                                  .K = K,
                                  .A = x,
                                  .B = w,
                                  .D = y,
                                  .lda = K,
                                  .ldb = K,
                                  .ldd = N,
                                  .trans_b = true,
                                  .ab = BF16,
                                  .d = BF16,
                                  .bias = each,
                                  .residual = in_place ? y : add,
                                  .b_is_weight = true}));
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                double sum = (double)bf16_to_f32(each[n]) + (double)bf16_to_f32(add[m * N + n]);
                for (int k = 0; k < K; k++)
                    sum += (double)bf16_to_f32(x[m * K + k]) * (double)bf16_to_f32(w[n * K + k]);
                assert_int_equal(y[m * N + n], bf16_from_f32((float)sum));
            }
    }
}

static void weights_change(void **state) {
    (void)state;
    enum { M = 8, N = 48, K = 64 };
    static float y[M * K];
    static bf16 x[M * K], w[N * K];
    for (int i = 0; i < M * K; i++) x[i] = bf16_from_f32(1);
    size_t held = 0;
    for (int step = 1; step <= 4; step++) {
        for (int i = 0; i < N * K; i++) w[i] = bf16_from_f32((float)step);
        gemm_weights_changed(dev);
        for (int again = 0; again < 4; again++) { /* as in forward and in dgrad, twice: the packed copies are reused */
            bool forward = again % 2 == 0;
            gemm_args g = {
                .M = M, .N = forward ? N : K, .K = forward ? K : N, .A = x, .B = w, .D = y, .lda = K, .ldb = K};
            g.ldd = g.N;
            g.trans_b = forward;
            g.ab = BF16, g.d = F32;
            g.b_is_weight = true;
            OK(gemm(dev, &g));
            for (int i = 0; i < M * g.N; i++) assert_true(y[i] == (float)(step * g.K));
        }
        if (step == 1) held = gemm_memory_bytes(dev);
        assert_int_equal(gemm_memory_bytes(dev), held); /* packed again in place */
    }
}

static void many_shapes(void **state) {
    (void)state;
    static float x[200], w[200 * 3], y[3];
    for (int i = 0; i < 200; i++) x[i] = 1, w[3 * i] = 1, w[3 * i + 1] = 2, w[3 * i + 2] = (float)i;
    for (int round = 0; round < 2; round++)
        for (int k = 1; k <= 200; k++) {
            OK(gemm(dev, &(gemm_args){.M = 1, .N = 3, .K = k, .A = x, .B = w, .D = y, .lda = 200, .ldb = 3, .ldd = 3}));
            assert_true(y[0] == (float)k && y[1] == (float)(2 * k) && y[2] == (float)(k * (k - 1) / 2));
        }
}

/* A value that is not finite stays in its row; where K is not a multiple of 32, AMX may carry it into the row before. */
static void not_finite(void **state) {
    (void)state;
    enum { MOST_S = 64, NAN_ROW = 3, INFINITE_ROW = 7 };
    static bf16 x[MOST_S * MOST_S], w[MOST_S * MOST_S], y[MOST_S * MOST_S];
    for (int S = 40; S <= MOST_S; S += 24) {
        for (int i = 0; i < S * S; i++) x[i] = w[i] = bf16_from_f32(1);
        x[NAN_ROW * S + 5] = bf16_from_f32(NAN);
        x[INFINITE_ROW * S + 9] = bf16_from_f32(INFINITY);
        gemm_args g = {.M = S, .N = S, .K = S, .A = x, .B = w, .D = y, .lda = S, .ldb = S, .ldd = S};
        g.ab = g.d = BF16;
        OK(gemm(dev, &g));
        for (int m = 0; m < S; m++)
            for (int n = 0; n < S; n++) {
                float value = bf16_to_f32(y[m * S + n]);
                bool before = S % 32 && (m == NAN_ROW - 1 || m == INFINITE_ROW - 1);
                assert_true(m == NAN_ROW        ? isnan(value)
                            : m == INFINITE_ROW ? isinf(value)
                                                : value == (float)S || (before && isnan(value)));
            }
    }
}

static void repeatable(void **state) {
    (void)state;
    enum { S = 140 };
    static float x[S * S], w[S * S], first[S * S], again[S * S];
    random_tensor(x, NULL, F32, S * S, 1, 6);
    random_tensor(w, NULL, F32, S * S, 1, 7);
    gemm_args g = {.M = S, .N = S, .K = S, .A = x, .B = w, .D = first, .lda = S, .ldb = S, .ldd = S, .trans_a = true};
    OK(gemm(dev, &g));
    g.D = again;
    OK(gemm(dev, &g));
    assert_memory_equal(first, again, sizeof first);
}

static void flops_are_counted(void **state) {
    (void)state;
    static float x[6], w[15], y[10];
    flop_counter before = dev->flops;
    OK(gemm(dev,
            &(gemm_args){
                .M = 2, .N = 5, .K = 3, .A = x, .B = w, .D = y, .lda = 3, .ldb = 5, .ldd = 5, .work = WORK_DGRAD}));
    assert_int_equal(dev->flops.work[WORK_DGRAD] - before.work[WORK_DGRAD], 2 * 2 * 5 * 3);
    assert_int_equal(meter_flops_executed(&dev->flops) - meter_flops_executed(&before), 2 * 2 * 5 * 3);
}

static void bad_arguments(void **state) {
    (void)state;
    static float x[64];
    gemm_args good = {.M = 2, .N = 3, .K = 4, .A = x, .B = x + 16, .D = x + 32, .lda = 4, .ldb = 3, .ldd = 3}, g;
    OK(gemm(dev, &good));
    flop_counter before = dev->flops;
    g = good, g.M = 0;
    FAILS(ARG, "expected at least 1", gemm(dev, &g));
    g = good, g.K = -1;
    FAILS(ARG, "expected at least 1", gemm(dev, &g));
    g = good, g.lda = 3;
    FAILS(ARG, "lda 3", gemm(dev, &g));
    g = good, g.trans_a = true, g.lda = 1;
    FAILS(ARG, "lda 1", gemm(dev, &g));
    g = good, g.trans_b = true;
    FAILS(ARG, "ldb 3", gemm(dev, &g));
    g = good, g.ldd = 2;
    FAILS(ARG, "ldd 2", gemm(dev, &g));
    g = good, g.B = NULL;
    FAILS(ARG, "NULL", gemm(dev, &g));
    g = good, g.d = BF16;
    FAILS(ARG, "operands fp32, D bf16", gemm(dev, &g));
    g = good, g.ab = g.d = BF16, g.accumulate = true;
    FAILS(ARG, "accumulate with D bf16", gemm(dev, &g));
    g = good, g.accumulate = true, g.bias = x;
    FAILS(ARG, "accumulate with bias", gemm(dev, &g));
    g = good, g.accumulate = true, g.residual = x;
    FAILS(ARG, "accumulate with residual", gemm(dev, &g));
    g = good, g.ab = BF16, g.bias = x;
    FAILS(ARG, "bias with operands bf16 and D fp32", gemm(dev, &g));
    g = good, g.dgelu_of = x;
    FAILS(ARG, "dgelu_of is set", gemm(dev, &g));
    assert_memory_equal(&before, &dev->flops, sizeof before);
}

static void peak(void **state) {
    (void)state;
    flop_counter before = dev->flops;
    size_t held = gemm_memory_bytes(dev);
    for (int t = 0; t < 2; t++) {
        double rate = 0;
        OK(gemm_measure_peak(dev, t ? BF16 : F32, 0, &rate));
        assert_true(rate > 0 && isfinite(rate));
    }
    assert_memory_equal(&before, &dev->flops, sizeof before);
    assert_int_equal(held, gemm_memory_bytes(dev));
}

/* test_gemm search COUNT [SEED]: COUNT products of random shape and layout; prints each that is wrong. For a library or
 * an instruction set that is new to us; DNNL_MAX_CPU_ISA (oneDNN 2) or ONEDNN_MAX_CPU_ISA (3) limits the latter. */
static int search(long count, uint64_t seed) {
    static const i64 sizes[] = {1, 1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 96, 127, 129};
    static const i64 pads[] = {0, 0, 1, 3, 16, 64};
    enum { SIZES = sizeof sizes / sizeof *sizes, PADS = sizeof pads / sizeof *pads, OFTEN = 4096 };
    long wrong = 0;
    for (long i = 0; i < count; i++) {
        if (i % OFTEN == 0) { /* the library caches an object for each shape */
            device_close(dev);
            if (device_open(&dev, "cpu", 2, 0)) return fprintf(stderr, "%s\n", status_message()), 1;
            if (i == 0) printf("# %s, %s\n", dev->name, dev->isa);
        }
        uint64_t random[2];
        for (int j = 0; j < 2; j++) { /* splitmix64 */
            uint64_t z = seed += 0x9E3779B97F4A7C15u;
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
            z = (z ^ z >> 27) * 0x94D049BB133111EBu;
            random[j] = z ^ z >> 31;
        }
        product_case p = {.g = {.M = sizes[(random[0] & 0xffff) % SIZES],
                                .N = sizes[(random[0] >> 16 & 0xffff) % SIZES],
                                .K = sizes[(random[0] >> 32 & 0xffff) % SIZES]}};
        p.offset = (random[0] >> 48 & 1) ? (i64)(random[0] >> 49 & 15) : 0;
        p.pad_a = pads[(random[1] & 0xff) % PADS], p.pad_b = pads[(random[1] >> 8 & 0xff) % PADS];
        p.pad_d = pads[(random[1] >> 16 & 0xff) % PADS];
        if (!choose_way(&p, (int)((random[1] >> 24 & 0xff) % 3), (int)(random[1] >> 32 & 3),
                        (int)((random[1] >> 40 & 0xff) % WAYS)))
            continue;
        int elements = wrong_elements(&p);
        if (!elements) continue;
        printf("%s: %d wrong of %d\n", describe(&p), elements, (int)(p.g.M * p.g.N));
        wrong++;
    }
    printf("# %ld wrong of %ld\n", wrong, count);
    device_close(dev);
    return wrong != 0;
}

int main(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "search") == 0)
        return search(strtol(argv[2], NULL, 10), argc > 3 ? strtoull(argv[3], NULL, 10) : 1);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination), cmocka_unit_test(small_sizes_and_strides),
        cmocka_unit_test(rounded_once),      cmocka_unit_test(weights_change),
        cmocka_unit_test(many_shapes),       cmocka_unit_test(not_finite),
        cmocka_unit_test(repeatable),        cmocka_unit_test(flops_are_counted),
        cmocka_unit_test(bad_arguments),     cmocka_unit_test(peak),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
