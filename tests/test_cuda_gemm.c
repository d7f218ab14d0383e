/* GEMM on CUDA against float64, element by element, with the bounds of test_gemm.c; Linear against the
 * CPU's. */
#include "layers/linear.h"
#include "runtime/gemm.h"
#include "tests/cuda_pair.h"

enum { MOST = 120 * 120 }; /* elements of the largest matrix here */

typedef enum { NONE, SEPARATE, IN_D } residual_kind;

typedef struct {
    bool bias, dgelu;
    residual_kind residual;
    i64 align;  /* rows are of a multiple of this many elements, and at least one more */
    i64 offset; /* of every operand from an aligned address, elements */
} how;

/* the operands' values, in each dtype, made once */
typedef enum { A, B, D, RESIDUAL, BIAS, OPERANDS } operand_name;
static char host[2][OPERANDS][MOST * 4];
static double wide[2][OPERANDS][MOST];

static int open_both(void **state) {
    for (int t = F32; t <= BF16; t++)
        for (int i = 0; i < OPERANDS; i++) random_tensor(host[t][i], wide[t][i], (dtype)t, MOST, 1, (uint64_t)i + 1);
    return pair_open(state);
}

/* an operand in the GPU's memory */
typedef struct {
    void *memory;
    size_t bytes;
    void *x;
} operand;

static operand operand_init(const void *values, dtype t, i64 n, i64 offset) {
    operand o = {.bytes = (size_t)(n + offset) * dtype_bytes(t)};
    o.memory = cuda_unwritten(o.bytes);
    o.x = tensor_at(o.memory, t, offset);
    OK(both.cuda->ops->copy(both.cuda, o.x, values, (size_t)n * dtype_bytes(t)));
    return o;
}

static void operand_free(operand o) { cuda_release(o.memory, o.bytes); }

static double gelu_slope(double x, double *tanh_weight) {
    double c = sqrt(2 / M_PI), t = tanh(c * (x + 0.044715 * x * x * x)), du = c * (1 + 3 * 0.044715 * x * x);
    *tanh_weight = 0.5 + fabs(x * t * du);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du;
}

/* what element m,n must be, and how far off it may be */
static double expected(double *bound, const gemm_args *g, how h, i64 m, i64 n) {
    const double *a = wide[g->ab][A], *b = wide[g->ab][B], *r = wide[g->d][RESIDUAL];
    double sum = 0, magnitude = 0;
    for (i64 k = 0; k < g->K; k++) {
        double term = a[g->trans_a ? k * g->lda + m : m * g->lda + k];
        term *= b[g->trans_b ? n * g->ldb + k : k * g->ldb + n];
        sum += term, magnitude += fabs(term);
    }
    double added[3] = {0};
    if (h.bias) added[0] = wide[g->ab][BIAS][n];
    if (h.residual == SEPARATE) added[1] = r[m * g->ldd + n];
    if (h.residual == IN_D || g->accumulate) added[2] = wide[g->d][D][m * g->ldd + n];
    for (int i = 0; i < 3; i++) sum += added[i], magnitude += fabs(added[i]);
    *bound = (double)(g->K + 2) * F32_ROUNDOFF * magnitude;
    if (h.dgelu) { /* the GPU's fast tanh is right to 2^-10.987; then a few roundings in f32 */
        double tanh_weight, slope = gelu_slope(r[m * g->ldd + n], &tanh_weight);
        *bound = *bound * fabs(slope) + fabs(sum) * tanh_weight * (0x1p-10 + 8 * F32_ROUNDOFF);
        sum *= slope;
    }
    if (g->d == BF16) *bound += BF16_ROUNDOFF * (fabs(sum) + *bound);
    return sum;
}

static void check_elements(const gemm_args *g, how h, const void *d) {
    static float got[MOST];
    widen(got, d, g->d, g->M * g->ldd);
    for (i64 m = 0; m < g->M; m++) {
        for (i64 n = 0; n < g->N; n++) {
            double bound, sum = expected(&bound, g, h, m, n);
            if (!(fabs(got[m * g->ldd + n] - sum) <= bound))
                fail_msg(
                    "M %d N %d K %d trans %d%d %s -> %s bias %d residual %d dgelu %d accumulate %d align %d offset "
                    "%d: at %d,%d got %.9g, expected %.9g, bound %.3g",
                    (int)g->M, (int)g->N, (int)g->K, g->trans_a, g->trans_b, dtype_name(g->ab), dtype_name(g->d),
                    h.bias, h.residual, h.dgelu, g->accumulate, (int)h.align, (int)h.offset, (int)m, (int)n,
                    got[m * g->ldd + n], sum, bound);
        }
        for (i64 n = g->N; n < g->ldd; n++) /* between rows nothing is written */
            assert_true(got[m * g->ldd + n] == (float)wide[g->d][D][m * g->ldd + n]);
    }
}

static i64 stride(i64 columns, i64 align) { return (columns + 1 + align - 1) / align * align; }

static status run_product(device *dev, gemm_args g, how h) {
    i64 a_rows = g.trans_a ? g.K : g.M, b_rows = g.trans_b ? g.N : g.K, o = h.offset;
    g.lda = stride(g.trans_a ? g.M : g.K, h.align), g.ldb = stride(g.trans_b ? g.K : g.N, h.align);
    g.ldd = stride(g.N, h.align);
    i64 n = g.M * g.ldd;
    size_t bytes = (size_t)n * dtype_bytes(g.d);
    operand a = operand_init(host[g.ab][A], g.ab, a_rows * g.lda, o);
    operand b = operand_init(host[g.ab][B], g.ab, b_rows * g.ldb, o);
    operand d = operand_init(host[g.d][D], g.d, n, o), r = operand_init(host[g.d][RESIDUAL], g.d, n, o);
    operand bias = operand_init(host[g.ab][BIAS], g.ab, g.N, o);
    g.A = a.x, g.B = b.x, g.D = d.x;
    if (h.bias) g.bias = bias.x;
    if (h.residual) g.residual = h.residual == IN_D ? d.x : r.x;
    if (h.dgelu) g.dgelu_of = r.x;
    status_code st = gemm(dev, &g);
    static char first[MOST * 4], again[MOST * 4];
    OK(dev->ops->copy(dev, first, d.x, bytes)); /* on its own stream */
    if (!st) {
        check_elements(&g, h, first);
        OK(dev->ops->copy(dev, d.x, host[g.d][D], bytes));
        OK(gemm(dev, &g));
        OK(dev->ops->copy(dev, again, d.x, bytes));
        assert_memory_equal(first, again, bytes);
    }
    operand_free(a), operand_free(b), operand_free(d), operand_free(r), operand_free(bias);
    return st;
}

static const dtype types[][2] = {{F32, F32}, {BF16, BF16}, {BF16, F32}};

/* every kind of product of these sizes */
static void all_kinds(device *dev, i64 M, i64 N, i64 K, i64 align, i64 offset) {
    for (size_t t = 0; t < 3; t++)
        for (int trans = 0; trans < 4; trans++)
            for (int kind = 0; kind < 7; kind++) {
                gemm_args g = {.M = M, .N = N, .K = K, .ab = types[t][0], .d = types[t][1]};
                g.trans_a = trans & 1, g.trans_b = trans & 2;
                how h = {.align = align, .offset = offset};
                if (kind == 6) g.accumulate = true;
                else h.bias = kind & 1, h.residual = (residual_kind)(kind / 2);
                if ((g.accumulate && g.d != F32) || (h.bias && g.d != g.ab)) continue;
                OK(run_product(dev, g, h));
            }
}

static const i64 sizes[][3] = {{1, 1, 1}, {1, 37, 5}, {37, 1, 5}, {17, 33, 65}, {64, 80, 32}, {100, 35, 70}};

static void every_combination(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int align = 1; align <= 8; align += 7)
            all_kinds(both.cuda, sizes[s][0], sizes[s][1], sizes[s][2], align, 0);
}

/* row lengths allow 16 bytes at a time, their first addresses do not */
static void unaligned_pointers(void **state) {
    (void)state;
    for (i64 offset = 0; offset < 8; offset += offset ? offset : 1) all_kinds(both.cuda, 24, 40, 16, 8, offset);
}

/* Small integers and quarters: every sum is exact in f32, so D must be the exact value rounded once. */
static void rounded_once(void **state) {
    (void)state;
    enum { M = 33, N = 72, K = 48 };
    static bf16 x[M * K], w[N * K], y[M * N], add[M * N], each[N];
    for (int i = 0; i < M * K; i++) x[i] = bf16_from_f32((float)(i * 7 % 23 - 11));
    for (int i = 0; i < N * K; i++) w[i] = bf16_from_f32((float)(i * 5 % 17 - 8));
    for (int i = 0; i < M * N; i++) add[i] = bf16_from_f32((float)(i % 29 - 14) * 0.25f);
    for (int i = 0; i < N; i++) each[i] = bf16_from_f32((float)(i % 13 - 6) * 0.5f);
    operand cx = operand_init(x, BF16, M * K, 0), cw = operand_init(w, BF16, N * K, 0);
    operand cy = operand_init(add, BF16, M * N, 0), bias = operand_init(each, BF16, N, 0);
    gemm_args g = {.M = M, .N = N, .K = K, .A = cx.x, .B = cw.x, .D = cy.x, .lda = K, .ldb = K, .ldd = N};
    g.trans_b = true, g.ab = g.d = BF16, g.bias = bias.x, g.residual = cy.x;
    OK(gemm(both.cuda, &g));
    from_cuda(y, cy.x, sizeof y);
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            double sum = (double)bf16_to_f32(each[n]) + (double)bf16_to_f32(add[m * N + n]);
            for (int k = 0; k < K; k++) sum += (double)bf16_to_f32(x[m * K + k]) * (double)bf16_to_f32(w[n * K + k]);
            assert_int_equal(y[m * N + n], bf16_from_f32((float)sum));
        }
    operand_free(cx), operand_free(cw), operand_free(cy), operand_free(bias);
}

static void dgelu(void **state) {
    (void)state;
    for (int trans = 0; trans < 4; trans++) {
        gemm_args g = {.M = 40, .N = 48, .K = 24, .ab = BF16, .d = BF16, .trans_a = trans & 1, .trans_b = trans & 2};
        OK(run_product(both.cuda, g, (how){.dgelu = true, .align = 8}));
    }
    gemm_args g = {.M = 8, .N = 14, .K = 7, .ab = BF16, .d = BF16}, f32 = {.M = 8, .N = 15, .K = 7};
    FAILS(ARG, "dgelu_of is set", run_product(both.cuda, g, (how){.dgelu = true, .align = 1}));
    FAILS(ARG, "dgelu_of is set", run_product(both.cuda, g, (how){.dgelu = true, .align = 8, .offset = 4}));
    FAILS(ARG, "dgelu_of is set", run_product(both.cuda, g, (how){.dgelu = true, .align = 8, .bias = true}));
    FAILS(ARG, "dgelu_of is set", run_product(both.cuda, f32, (how){.dgelu = true, .align = 8}));
}

/* Only the emulation can be configured to have no algorithm. Shapes used before do not ask for one again. */
static void asked_for_once(void **state) {
    (void)state;
    if (!cuda_emulated()) skip();
    gemm_args g = {.M = 5, .N = 6, .K = 7, .ab = BF16, .d = F32}, other = g;
    other.M = 8, other.trans_b = true;
    OK(run_product(both.cuda, g, (how){.align = 1}));
    setenv("SIMT_LT_NONE", "1", 1);
    OK(run_product(both.cuda, g, (how){.align = 1}));
    FAILS(DEVICE, "no algorithm for M 8, N 6, K 7, bf16 to fp32, lda 8, ldb 8 (transposed), ldd 7,",
          run_product(both.cuda, other, (how){.align = 1}));
    assert_null(strchr(status_message(), '\n'));
    unsetenv("SIMT_LT_NONE");
    OK(run_product(both.cuda, other, (how){.align = 1}));
}

static void search(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cuda", 0, 0));
    gemm_search(dev, true);
    for (size_t s = 3; s < sizeof sizes / sizeof *sizes; s++)
        all_kinds(dev, sizes[s][0], sizes[s][1], sizes[s][2], 8, 0);
    gemm_args g = {.M = 40, .N = 48, .K = 24, .ab = BF16, .d = BF16};
    OK(run_product(dev, g, (how){.dgelu = true, .align = 8}));
    assert_int_equal(gemm_memory_bytes(dev), gemm_memory_bytes(both.cuda));
    device_close(dev);
    gemm_search(both.cpu, true); /* nothing to choose there */
}

static void peak(void **state) {
    (void)state;
    flop_counter before = both.cuda->flops;
    size_t held = gemm_memory_bytes(both.cuda);
    uint64_t used, then;
    OK(both.cuda->ops->used(both.cuda, &used));
    for (int t = 0; t < 2; t++) {
        double rate = 0;
        OK(gemm_measure_peak(both.cuda, t ? BF16 : F32, 0, &rate));
        assert_true(rate > 0 && isfinite(rate));
    }
    assert_memory_equal(&before, &both.cuda->flops, sizeof before);
    assert_int_equal(held, gemm_memory_bytes(both.cuda));
    OK(both.cuda->ops->used(both.cuda, &then));
    if (cuda_emulated()) assert_int_equal(used, then); /* a real driver may free memory later */
}

/* --- Linear --- */

/* Two sums of n terms of the same magnitude in f32 are each off by n roundings of the terms' sum of magnitudes, which
 * is about sqrt(n) times their sum; where they are rounded to bf16, each once. */
static double sums_apart(i64 n, dtype t) {
    return 2 * ((double)(n + 2) * sqrt((double)n) * F32_ROUNDOFF + (t == BF16 ? BF16_ROUNDOFF : 0));
}

typedef struct {
    dtype t;
    i64 N, I, O;
    bool bias, residual, accumulate, gelu;
} linear_case;

static void linear_pair(linear_case c) {
    dtype t = c.t;
    i64 N = c.N, I = c.I, O = c.O;
    size_t e = dtype_bytes(t);
    i64 counts[] = {N * I, O * I, O, N * O, N * O, N * I};
    void *on_cpu[6], *on_cuda[6]; /* x w b residual dy up */
    for (int i = 0; i < 6; i++) {
        on_cpu[i] = malloc((size_t)counts[i] * e);
        random_tensor(on_cpu[i], NULL, t, counts[i], 1, (uint64_t)i + 1);
        on_cuda[i] = to_cuda(on_cpu[i], (size_t)counts[i] * e);
    }
    float *dw = malloc((size_t)(O * I) * 4), *db = malloc((size_t)O * 4);
    void *y = malloc((size_t)(N * O) * e), *dx = malloc((size_t)(N * I) * e);
    random_tensor(dw, NULL, F32, O * I, 1, 7);
    random_tensor(db, NULL, F32, O, 1, 8);
    float *cdw = to_cuda(dw, (size_t)(O * I) * 4), *cdb = to_cuda(db, (size_t)O * 4);
    void *cy = cuda_unwritten((size_t)(N * O) * e), *cdx = cuda_unwritten((size_t)(N * I) * e);

    linear l = {.w = on_cpu[1], .dw = dw, .accumulate = c.accumulate, .I = I, .O = O}, cl = l;
    cl.w = on_cuda[1], cl.dw = cdw;
    if (c.bias) l.b = on_cpu[2], l.db = db, cl.b = on_cuda[2], cl.db = cdb;
    OK(linear_forward(both.cpu, t, y, on_cpu[0], &l, c.residual ? on_cpu[3] : NULL, N));
    OK(linear_forward(both.cuda, t, cy, on_cuda[0], &cl, c.residual ? on_cuda[3] : NULL, N));
    check_same("y", t, cy, y, N * O, sums_apart(I, t));
    if (c.gelu) {
        OK(linear_backward_gelu(both.cpu, t, dx, on_cpu[4], on_cpu[0], on_cpu[5], &l, N));
        OK(linear_backward_gelu(both.cuda, t, cdx, on_cuda[4], on_cuda[0], on_cuda[5], &cl, N));
        /* where only one half is fused, the other has rounded once more; and the GPU's fast tanh, to 2^-10.987 */
        check_same("dx", t, cdx, dx, N * I, 2 * sums_apart(O, t) + (t == BF16 ? 0x1p-8 : 16 * F32_ROUNDOFF));
    } else {
        OK(linear_backward(both.cpu, t, dx, on_cpu[4], on_cpu[0], &l, N));
        OK(linear_backward(both.cuda, t, cdx, on_cuda[4], on_cuda[0], &cl, N));
        check_same("dx", t, cdx, dx, N * I, sums_apart(O, t));
    }
    check_same("dw", F32, cdw, dw, O * I, sums_apart(N, F32));
    check_same("db", F32, cdb, db, O, sums_apart(N, F32));
    for (int i = 0; i < 6; i++) cuda_release(on_cuda[i], (size_t)counts[i] * e), free(on_cpu[i]);
    cuda_release(cdw, (size_t)(O * I) * 4), cuda_release(cdb, (size_t)O * 4);
    cuda_release(cy, (size_t)(N * O) * e), cuda_release(cdx, (size_t)(N * I) * e);
    free(dw), free(db), free(y), free(dx);
}

static void linear_is_the_cpus(void **state) {
    (void)state;
    static const i64 shapes[][3] = {{3, 5, 7}, {31, 24, 65}, {70, 96, 40}, {600, 8, 270}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int t = F32; t <= BF16; t++)
            for (int kind = 0; kind < 8; kind++)
                linear_pair((linear_case){.t = (dtype)t,
                                          .N = shapes[s][0],
                                          .I = shapes[s][1],
                                          .O = shapes[s][2],
                                          .bias = kind & 1,
                                          .residual = kind & 2,
                                          .accumulate = kind & 2,
                                          .gelu = kind & 4});
}

/* small integers, whose sums are exact in any order; more rows than there are pieces of the least size */
static void bias_gradient_is_exact(void **state) {
    (void)state;
    static const i64 shapes[][2] = {{1, 1}, {257, 264}, {64, 3}, {17000, 8}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int k = 0; k < 2; k++) {
            i64 N = shapes[s][0], O = shapes[s][1], one = 1;
            dtype t = k ? BF16 : F32;
            size_t e = dtype_bytes(t);
            void *dy = calloc((size_t)(N * O), e), *x = calloc((size_t)N, e);
            float *db = malloc((size_t)O * 4), *sums = malloc((size_t)O * 4);
            for (i64 o = 0; o < O; o++) db[o] = sums[o] = (float)o;
            for (i64 i = 0; i < N * O; i++) {
                float v = (float)(i * 7 % 31 - 9);
                if (t == F32) ((float *)dy)[i] = v;
                else ((bf16 *)dy)[i] = bf16_from_f32(v);
                sums[i % O] += v;
            }
            void *cdy = to_cuda(dy, (size_t)(N * O) * e), *cx = to_cuda(x, (size_t)N * e);
            float *cdb = to_cuda(db, (size_t)O * 4), *cdw = cuda_unwritten((size_t)O * 4);
            const linear l = {.dw = cdw, .db = cdb, .accumulate = k != 0, .I = one, .O = O};
            OK(linear_backward(both.cuda, t, NULL, cdy, cx, &l, N));
            from_cuda(db, cdb, (size_t)O * 4);
            for (i64 o = 0; o < O; o++) assert_true(db[o] == (k ? sums[o] : sums[o] - (float)o));
            cuda_release(cdy, (size_t)(N * O) * e), cuda_release(cx, (size_t)N * e);
            cuda_release(cdb, (size_t)O * 4), cuda_release(cdw, (size_t)O * 4);
            free(dy), free(x), free(db), free(sums);
        }
}

int main(void) {
    NEEDS_CUDA("test_cuda_gemm");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination),
        cmocka_unit_test(unaligned_pointers),
        cmocka_unit_test(rounded_once),
        cmocka_unit_test(dgelu),
        cmocka_unit_test(asked_for_once),
        cmocka_unit_test(search),
        cmocka_unit_test(peak),
        cmocka_unit_test(linear_is_the_cpus),
        cmocka_unit_test(bias_gradient_is_exact),
    };
    return cmocka_run_group_tests(tests, open_both, pair_close);
}
