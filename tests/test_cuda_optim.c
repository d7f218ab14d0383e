#include "optim/adamw.h"
#include "optim/gradnorm.h"
#include "tests/cuda_pair.h"

/* --- clip --- */

static step_verdict decide(device *dev, step_verdict before, const step_sums *sums, int ranks, verdict_args a) {
    step_verdict *v = &before;
    if (dev == both.cpu) {
        OK(verdict_decide(dev, v, sums, ranks, a));
        return before;
    }
    size_t bytes = (size_t)ranks * sizeof *sums;
    step_verdict *cv = to_cuda(v, sizeof *v);
    step_sums *csums = to_cuda(sums, bytes);
    OK(verdict_decide(dev, cv, csums, ranks, a));
    from_cuda(v, cv, sizeof *v);
    cuda_release(cv, sizeof *v);
    cuda_release(csums, bytes);
    return before;
}

static void clip_is_the_cpus(void **state) {
    (void)state;
    const verdict_args a = {.tokens = 96, .clip = 1, .beta1 = 0.9, .beta2 = 0.95}, off = {.tokens = 7, .beta2 = 0.999};
    const step_verdict before = {.updates = 5, .grad_scale = 0.25f, .m_correction = 3, .v_correction = 4};
    const step_sums good[] = {{10, 0.5}, {20.5, 3}, {0.125, 1e-9}}, small[] = {{1, 0.01}};
    const step_sums bad[] = {{10, 0.5}, {NAN, 3}}, large[] = {{10, 0.5}, {1, INFINITY}};
    const struct {
        const step_sums *sums;
        int ranks;
        verdict_args a;
        bool skipped;
    } cases[] = {
        {good, 3, a, false}, {good, 2, off, false}, {small, 1, a, false}, {bad, 2, a, true}, {large, 2, a, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        step_verdict x = decide(both.cpu, before, cases[i].sums, cases[i].ranks, cases[i].a);
        step_verdict y = decide(both.cuda, before, cases[i].sums, cases[i].ranks, cases[i].a);
        assert_memory_equal(&x.loss, &y.loss, 8);
        assert_memory_equal(&x.grad_norm, &y.grad_norm, 8);
        assert_int_equal(x.skipped, cases[i].skipped);
        assert_int_equal(y.skipped, cases[i].skipped);
        assert_int_equal(x.updates, y.updates);
        assert_true(x.grad_scale == y.grad_scale);
        /* pow is not rounded correctly, but to f64 */
        assert_true(fabsf(x.m_correction - y.m_correction) <= 2 * F32_ROUNDOFF * x.m_correction);
        assert_true(fabsf(x.v_correction - y.v_correction) <= 2 * F32_ROUNDOFF * x.v_correction);
        if (y.skipped)
            assert_true(y.updates == 5 && y.grad_scale == 0.25f && y.m_correction == 3 && y.v_correction == 4);
    }
}

/* --- gradnorm --- */

static double sum_twice_on_cuda(const float *x, i64 n, i64 offset) {
    double sum = 0;
    size_t bytes = (size_t)(n + offset) * 4, scratch_bytes = gradnorm_scratch_bytes(n);
    float *cx = cuda_unwritten(bytes);
    OK(both.cuda->ops->copy(both.cuda, cx + offset, x, (size_t)n * 4));
    double *csum = to_cuda(&sum, sizeof sum);
    void *scratch = cuda_unwritten(scratch_bytes);
    OK(gradnorm_sum_squares(both.cuda, csum, cx + offset, n, scratch));
    OK(gradnorm_sum_squares(both.cuda, csum, cx + offset, n, scratch));
    from_cuda(&sum, csum, sizeof sum);
    cuda_release(cx, bytes);
    cuda_release(csum, sizeof sum);
    cuda_release(scratch, scratch_bytes);
    return sum;
}

static void norm_is_the_cpus(void **state) {
    (void)state;
    static const i64 counts[] = {1, 3, 1000, 65535, 65536, 65537, 200001};
    const i64 most = 200001;
    float *x = malloc((size_t)most * 4);
    char scratch[64];
    random_tensor(x, NULL, F32, most, 1, 1);
    for (int i = 0; i < most; i += 7) x[i] *= 1e25f; /* squares beyond f32 */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (i64 offset = 0; offset < 2; offset++) {
            double cpu = 0, cuda = sum_twice_on_cuda(x, counts[i], offset);
            assert_true(gradnorm_scratch_bytes(counts[i]) <= sizeof scratch);
            OK(gradnorm_sum_squares(both.cpu, &cpu, x, counts[i], scratch));
            assert_true(fabs(cuda - 2 * cpu) <= (double)(counts[i] + 2) * 0x1p-52 * cpu);
            double again = sum_twice_on_cuda(x, counts[i], offset);
            assert_memory_equal(&cuda, &again, sizeof cuda);
        }
    free(x);
}

/* --- AdamW --- */

enum { MOST = 6000, TENSORS = 5 }; /* more than two blocks of threads by eights */
static const adamw_args base = {.lr = 1e-2f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .decay = 0.1f, .seed = 11};

/* one state of the optimizer, on either device */
typedef struct {
    device *dev;
    dtype t, moments;
    i64 n;
    void *w, *master, *m, *v, *g;
} optimizer;

/* values that both dtypes hold: the same for every optimizer here */
static float initial[TENSORS][MOST];
enum { W, MASTER, M, V, G };

static int open_both(void **state) {
    for (int i = 0; i < TENSORS; i++) {
        bf16 *half = malloc(MOST * sizeof *half);
        random_tensor(half, NULL, BF16, MOST, i == W || i == MASTER ? 0.02f : 1, i == MASTER ? 1 : (uint64_t)i + 1);
        widen(initial[i], half, BF16, MOST);
        free(half);
    }
    for (int i = 0; i < MOST; i++) initial[V][i] *= initial[V][i] > 0 ? 1 : -1;
    return pair_open(state);
}

static void *tensor(device *dev, int which, dtype t, i64 n) {
    size_t bytes = (size_t)n * dtype_bytes(t);
    void *x, *host = malloc(bytes);
    for (i64 i = 0; i < n; i++)
        if (t == F32) ((float *)host)[i] = initial[which][i];
        else ((bf16 *)host)[i] = bf16_from_f32(initial[which][i]);
    OK(dev->ops->alloc(dev, &x, bytes));
    OK(dev->ops->copy(dev, x, host, bytes));
    free(host);
    return x;
}

static optimizer optimizer_init(device *dev, dtype t, dtype moments, bool master, i64 n) {
    return (optimizer){.dev = dev,
                       .t = t,
                       .moments = moments,
                       .n = n,
                       .w = tensor(dev, W, t, n),
                       .master = master ? tensor(dev, MASTER, F32, n) : NULL,
                       .m = tensor(dev, M, moments, n),
                       .v = tensor(dev, V, moments, n),
                       .g = tensor(dev, G, F32, n)};
}

static void optimizer_free(optimizer o) {
    void (*release)(device *, void *, size_t) = o.dev->ops->free;
    release(o.dev, o.w, (size_t)o.n * dtype_bytes(o.t));
    if (o.master) release(o.dev, o.master, (size_t)o.n * 4);
    release(o.dev, o.m, (size_t)o.n * dtype_bytes(o.moments));
    release(o.dev, o.v, (size_t)o.n * dtype_bytes(o.moments));
    release(o.dev, o.g, (size_t)o.n * 4);
}

static void step_piece(optimizer o, i64 from, i64 n, adamw_args a, step_verdict verdict) {
    void *v;
    OK(o.dev->ops->alloc(o.dev, &v, sizeof verdict));
    OK(o.dev->ops->copy(o.dev, v, &verdict, sizeof verdict));
    a.first += (uint64_t)from;
    const adamw_piece piece = {.n = n,
                               .t = o.t,
                               .weights = tensor_at(o.w, o.t, from),
                               .master = o.master ? (float *)o.master + from : NULL,
                               .moments = o.moments,
                               .m = tensor_at(o.m, o.moments, from),
                               .v = tensor_at(o.v, o.moments, from),
                               .grads = (float *)o.g + from};
    OK(adamw_step(o.dev, &piece, a, v));
    OK(o.dev->ops->synchronize(o.dev));
    o.dev->ops->free(o.dev, v, sizeof verdict);
}

static step_verdict verdict_of(uint64_t updates) {
    return (step_verdict){.updates = updates, .grad_scale = 0.5f, .m_correction = 1.5f, .v_correction = 2.5f};
}

static void check_pair(const char *what, dtype t, const void *cuda, const void *cpu, i64 n) {
    /* f32: some eight roundings of terms as large as the result; bf16: to either neighbour of the same value */
    check_same(what, t, cuda, cpu, n, t == F32 ? 8 * F32_ROUNDOFF : 2 * 2 * BF16_ROUNDOFF);
}

static void adamw_is_the_cpus(void **state) {
    (void)state;
    static const i64 counts[] = {1, 7, 8, 255, MOST - 3};
    for (int kind = 0; kind < 8; kind++)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            for (i64 from = 0; from < (counts[i] > 8 ? 9 : 1); from += 3) { /* 0: aligned; 3 and 6: not */
                dtype t = kind & 1 ? BF16 : F32, moments = kind & 2 ? BF16 : F32;
                i64 n = counts[i];
                optimizer x = optimizer_init(both.cpu, t, moments, kind & 4, n);
                optimizer y = optimizer_init(both.cuda, t, moments, kind & 4, n);
                for (uint64_t k = 1; k <= 3; k++) {
                    step_piece(x, from, n - from, base, verdict_of(k));
                    step_piece(y, from, n - from, base, verdict_of(k));
                    if (moments == BF16 || t == BF16) break; /* then they drift apart by steps of bf16 */
                }
                check_pair("weights", t, y.w, x.w, n);
                check_pair("m", moments, y.m, x.m, n);
                check_pair("v", moments, y.v, x.v, n);
                if (x.master) check_pair("master", F32, y.master, x.master, n);
                optimizer_free(x);
                optimizer_free(y);
            }
}

/* of an f32 run and a bf16 run of both devices: bits of bf16 must agree where the f32 do */
static i64 check_bits(const char *what, const void *x32, const void *y32, const void *x16, const void *y16, i64 n) {
    float *a = malloc((size_t)n * 4);
    bf16 *b = malloc((size_t)n * 2);
    i64 same = 0;
    from_cuda(a, y32, (size_t)n * 4);
    from_cuda(b, y16, (size_t)n * 2);
    for (i64 i = 0; i < n; i++) {
        if (memcmp(&a[i], (const float *)x32 + i, 4) != 0) continue;
        same++;
        if (b[i] != ((const bf16 *)x16)[i])
            fail_msg("%s: element %d of f32 %.9g is rounded to %04x on the CPU, to %04x on CUDA", what, (int)i, a[i],
                     ((const bf16 *)x16)[i], b[i]);
    }
    free(a);
    free(b);
    return same;
}

static void stochastic_rounding_is_the_cpus(void **state) {
    (void)state;
    const i64 n = MOST - 5;
    step_verdict v = verdict_of(3);
    v.grad_scale = 1;
    adamw_args a = base;
    a.beta1 = a.beta2 = 0.5f; /* of values of eight bits, the moments' sums are mostly exact in f32, fused or not */
    for (uint64_t first = 0; first < 17; first += 3) {
        optimizer o[2][2];
        a.first = ((uint64_t)1 << 35) + first;
        for (int on_cuda = 0; on_cuda < 2; on_cuda++)
            for (int half = 0; half < 2; half++) {
                dtype t = half ? BF16 : F32;
                o[on_cuda][half] = optimizer_init(on_cuda ? both.cuda : both.cpu, t, t, false, n);
                step_piece(o[on_cuda][half], 0, n, a, v);
            }
        assert_true(check_bits("m", o[0][0].m, o[1][0].m, o[0][1].m, o[1][1].m, n) > n * 9 / 10);
        assert_true(check_bits("v", o[0][0].v, o[1][0].v, o[0][1].v, o[1][1].v, n) > n * 9 / 10);
        assert_true(check_bits("weights", o[0][0].w, o[1][0].w, o[0][1].w, o[1][1].w, n) > n / 10);
        for (int i = 0; i < 4; i++) optimizer_free(o[i / 2][i % 2]);
    }
}

static void check_same_bits(optimizer x, optimizer y) {
    static char a[MOST * 4], b[MOST * 4];
    const void *pairs[][2] = {{x.w, y.w}, {x.m, y.m}, {x.v, y.v}};
    for (int i = 0; i < 3; i++) {
        size_t bytes = (size_t)x.n * dtype_bytes(i ? x.moments : x.t);
        from_cuda(a, pairs[i][0], bytes);
        from_cuda(b, pairs[i][1], bytes);
        assert_memory_equal(a, b, bytes);
    }
}

/* cut at odd places, whose groups of eight begin in the piece before */
static void shards_do_not_matter(void **state) {
    (void)state;
    static const i64 cuts[] = {0, 1, 5, 8, 16, 27, 2048, 2050, MOST};
    adamw_args a = base;
    for (a.first = 40; a.first < 46; a.first += 5) {
        optimizer whole = optimizer_init(both.cuda, BF16, BF16, false, MOST),
                  cut = optimizer_init(both.cuda, BF16, BF16, false, MOST);
        step_piece(whole, 0, MOST, a, verdict_of(9));
        for (size_t i = 0; i + 1 < sizeof cuts / sizeof *cuts; i++)
            step_piece(cut, cuts[i], cuts[i + 1] - cuts[i], a, verdict_of(9));
        check_same_bits(whole, cut);
        optimizer_free(whole);
        optimizer_free(cut);
    }
}

static void skipped_steps_touch_nothing(void **state) {
    (void)state;
    step_verdict v = verdict_of(2);
    v.skipped = 1;
    v.grad_scale = NAN;
    for (int t = F32; t <= BF16; t++) {
        optimizer before = optimizer_init(both.cuda, (dtype)t, (dtype)t, false, 999),
                  o = optimizer_init(both.cuda, (dtype)t, (dtype)t, false, 999);
        step_piece(o, 0, 999, base, v);
        step_piece(o, 5, 994, base, v);
        check_same_bits(before, o);
        optimizer_free(before);
        optimizer_free(o);
    }
}

static void not_a_number_stays_so(void **state) {
    (void)state;
    float g[16] = {0};
    bf16 m[16];
    optimizer o = optimizer_init(both.cuda, BF16, BF16, false, 16);
    for (int i = 0; i < 16; i++) g[i] = i % 2 ? 1 : NAN;
    OK(both.cuda->ops->copy(both.cuda, o.g, g, sizeof g));
    step_piece(o, 0, 16, base, verdict_of(1));
    from_cuda(m, o.m, sizeof m);
    for (int i = 0; i < 16; i++) assert_int_equal(isnan(bf16_to_f32(m[i])), i % 2 == 0);
    optimizer_free(o);
}

int main(void) {
    NEEDS_CUDA("test_cuda_optim");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_is_the_cpus),      cmocka_unit_test(norm_is_the_cpus),
        cmocka_unit_test(adamw_is_the_cpus),     cmocka_unit_test(stochastic_rounding_is_the_cpus),
        cmocka_unit_test(shards_do_not_matter),  cmocka_unit_test(skipped_steps_touch_nothing),
        cmocka_unit_test(not_a_number_stays_so),
    };
    return cmocka_run_group_tests(tests, open_both, pair_close);
}
