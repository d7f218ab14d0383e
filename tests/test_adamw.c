#include "optim/adamw.h"

#include "tests/check.h"

/* a step's arguments, from the options and the verdict */
typedef struct {
    float lr, beta1, beta2, eps, decay, grad_scale;
    uint64_t step, seed, first;
} setting;

static adamw_args args_of(setting s) {
    return (adamw_args){.lr = s.lr,
                        .beta1 = s.beta1,
                        .beta2 = s.beta2,
                        .eps = s.eps,
                        .decay = s.decay,
                        .seed = s.seed,
                        .first = s.first};
}

static step_verdict verdict_of(setting s) {
    return (step_verdict){.updates = s.step,
                          .grad_scale = s.grad_scale,
                          .m_correction = (float)(1 / (1 - pow(s.beta1, (double)s.step))),
                          .v_correction = (float)(1 / (1 - pow(s.beta2, (double)s.step)))};
}

static const setting base = {
    .lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .decay = 0.1f, .grad_scale = 0.5f, .step = 1, .seed = 11};

/* one state of the optimizer; weights and moments of any dtype */
typedef struct {
    dtype t, moments;
    i64 n;
    void *w, *m, *v;
    float *master;
} optimizer;

static optimizer optimizer_init(dtype t, dtype moments, bool master, i64 n) {
    optimizer o = {.t = t, .moments = moments, .n = n};
    o.w = malloc((size_t)n * dtype_bytes(t));
    o.m = calloc((size_t)n, dtype_bytes(moments)), o.v = calloc((size_t)n, dtype_bytes(moments));
    random_tensor(o.w, NULL, t, n, 0.02f, 1);
    if (master) {
        o.master = malloc((size_t)n * 4);
        widen(o.master, o.w, t, n);
    }
    return o;
}

static void optimizer_free(optimizer o) { free(o.w), free(o.m), free(o.v), free(o.master); }

static void step_piece(device *dev, optimizer *o, const float *g, i64 from, i64 n, setting a) {
    a.first += (uint64_t)from;
    step_verdict verdict = verdict_of(a);
    const adamw_piece piece = {.n = n,
                               .t = o->t,
                               .weights = tensor_at(o->w, o->t, from),
                               .master = o->master ? o->master + from : NULL,
                               .moments = o->moments,
                               .m = tensor_at(o->m, o->moments, from),
                               .v = tensor_at(o->v, o->moments, from),
                               .grads = g + from};
    OK(adamw_step(dev, &piece, args_of(a), &verdict));
}

static void check_same(optimizer a, optimizer b) {
    assert_memory_equal(a.w, b.w, (size_t)a.n * dtype_bytes(a.t));
    assert_memory_equal(a.m, b.m, (size_t)a.n * dtype_bytes(a.moments));
    assert_memory_equal(a.v, b.v, (size_t)a.n * dtype_bytes(a.moments));
    if (a.master) assert_memory_equal(a.master, b.master, (size_t)a.n * 4);
}

static void reference_step(double *w, double *m, double *v, const float *g, i64 n, setting a) {
    double b1 = a.beta1, b2 = a.beta2;
    for (i64 i = 0; i < n; i++) {
        double gi = (double)g[i] * a.grad_scale;
        m[i] = b1 * m[i] + (1 - b1) * gi;
        v[i] = b2 * v[i] + (1 - b2) * gi * gi;
        double mh = m[i] / (1 - pow(b1, (double)a.step)), vh = v[i] / (1 - pow(b2, (double)a.step));
        w[i] -= a.lr * (mh / (sqrt(vh) + a.eps) + a.decay * w[i]);
    }
}

static void test_f32_against_reference(void **state) {
    (void)state;
    enum { STEPS = 6 };
    device *dev;
    OK(device_open(&dev, "cpu", 3, 0));
    for (int decays = 0; decays < 2; decays++)
        for (i64 n = 1; n < 5000; n = n * 5 + 1) {
            optimizer o = optimizer_init(F32, F32, false, n);
            double *w = malloc((size_t)n * 8), *m = calloc((size_t)n, 8), *v = calloc((size_t)n, 8);
            float *g = malloc((size_t)n * 4);
            for (i64 i = 0; i < n; i++) w[i] = ((float *)o.w)[i];
            setting a = base;
            if (!decays) a.decay = 0;
            for (a.step = 1; a.step <= STEPS; a.step++) {
                random_tensor(g, NULL, F32, n, 1, 10 + a.step);
                step_piece(dev, &o, g, 0, n, a);
                reference_step(w, m, v, g, n, a);
            }
            /* m and v: 4 roundings a step, of terms up to 1/(1-beta1) times the sum of those that cancel in m.
             * w: one rounding of w a step, and 16 of an update that is 1/20 of it (0.001 of 0.02). */
            check_close("m", o.m, m, n, 10 * 4 * STEPS * F32_ROUNDOFF);
            check_close("v", o.v, v, n, 4 * STEPS * F32_ROUNDOFF);
            check_close("w", o.w, w, n, (1 + 16 / 20.0 + 1) * STEPS * F32_ROUNDOFF);
            optimizer_free(o);
            free(w), free(m), free(v), free(g);
        }
    device_close(dev);
}

/* the master has the bits of f32 weights; bf16 weights are the master rounded to nearest */
static void test_master(void **state) {
    (void)state;
    enum { N = 3001 };
    device *dev;
    OK(device_open(&dev, "cpu", 2, 0));
    optimizer o = optimizer_init(BF16, F32, true, N), plain = optimizer_init(F32, F32, false, N);
    memcpy(plain.w, o.master, N * 4);
    float g[N];
    setting a = base;
    for (a.step = 1; a.step <= 3; a.step++) {
        random_tensor(g, NULL, F32, N, 1, a.step);
        step_piece(dev, &o, g, 0, N, a);
        step_piece(dev, &plain, g, 0, N, a);
    }
    assert_memory_equal(o.master, plain.w, N * 4);
    assert_memory_equal(o.m, plain.m, N * 4);
    for (int i = 0; i < N; i++) assert_int_equal(((bf16 *)o.w)[i], bf16_from_f32(o.master[i]));
    optimizer_free(o), optimizer_free(plain);
    device_close(dev);
}

static void test_pieces_and_threads_make_no_difference(void **state) {
    (void)state;
    enum { N = 5003 };
    const i64 cuts[] = {0, 1, 8, 1031, 1032, 3100, N};
    float *g = malloc(N * 4);
    random_tensor(g, NULL, F32, N, 1, 3);
    for (int k = 0; k < 8; k++) {
        dtype t = k & 1 ? BF16 : F32, moments = k & 2 ? BF16 : F32;
        setting a = base;
        a.first = (1ull << 40) + 13; /* a shard deep inside a large model */
        optimizer whole = optimizer_init(t, moments, k & 4, N), pieces = optimizer_init(t, moments, k & 4, N);
        for (a.step = 1; a.step <= 2; a.step++) {
            device *dev;
            OK(device_open(&dev, "cpu", 1, 0));
            step_piece(dev, &whole, g, 0, N, a);
            device_close(dev);
            OK(device_open(&dev, "cpu", 3, 0));
            for (size_t i = 0; i + 1 < sizeof cuts / sizeof *cuts; i++)
                step_piece(dev, &pieces, g, cuts[i], cuts[i + 1] - cuts[i], a);
            device_close(dev);
        }
        check_same(whole, pieces);
        optimizer_free(whole), optimizer_free(pieces);
    }
    free(g);
}

/* the random lane that adamw.h promises, one element at a time */
static bf16 round_as_stated(float value, uint64_t seed, uint64_t index, uint64_t step, uint64_t which) {
    philox_block b = philox(seed, index / 8, step << 16 | which << 8 | RNG_ROUND);
    uint32_t word = b.v[index % 8 / 2], lane = index % 2 ? word >> 16 : word & 0xffff, bits;
    memcpy(&bits, &value, 4);
    return (bf16)((bits + lane) >> 16);
}

static void test_random_bits_are_as_stated(void **state) {
    (void)state;
    enum { N = 2077 };
    device *dev;
    OK(device_open(&dev, "cpu", 2, 0));
    optimizer exact = optimizer_init(F32, F32, false, N), o = optimizer_init(BF16, BF16, false, N);
    widen(exact.w, o.w, BF16, N); /* the same start; one step from zero moments has no other rounding */
    float g[N];
    random_tensor(g, NULL, F32, N, 1, 3);
    setting a = base;
    a.first = 12345;
    a.step = 7;
    step_piece(dev, &exact, g, 0, N, a);
    step_piece(dev, &o, g, 0, N, a);
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(((bf16 *)o.w)[i], round_as_stated(((float *)exact.w)[i], a.seed, a.first + i, a.step, 0));
        assert_int_equal(((bf16 *)o.m)[i], round_as_stated(((float *)exact.m)[i], a.seed, a.first + i, a.step, 1));
        assert_int_equal(((bf16 *)o.v)[i], round_as_stated(((float *)exact.v)[i], a.seed, a.first + i, a.step, 2));
    }
    optimizer_free(exact), optimizer_free(o);
    device_close(dev);
}

/* Many elements with the same value: the share that is rounded up must be the distance from the lower neighbour, to 5
 * standard deviations of a binomial; and the rounding of the weight must be independent of that of m. */
static void test_rounding_is_unbiased_and_independent(void **state) {
    (void)state;
    enum { N = 200000 };
    device *dev;
    OK(device_open(&dev, "cpu", 2, 0));
    optimizer o = optimizer_init(BF16, BF16, false, N);
    float *g = malloc(N * 4), w = 1, m = 0, v = 0, one = 1;
    for (int i = 0; i < N; i++) ((bf16 *)o.w)[i] = bf16_from_f32(1), g[i] = 1;
    setting a = base;
    a.grad_scale = 1, a.decay = 0, a.lr = 0.0011f;
    step_piece(dev, &o, g, 0, N, a);
    step_verdict verdict = verdict_of(a);
    OK(adamw_step(dev, &(adamw_piece){.n = 1, .weights = &w, .m = &m, .v = &v, .grads = &one}, args_of(a), &verdict));
    const float exact[3] = {w, m, v};
    const bf16 *rounded[3] = {o.w, o.m, o.v};
    double share[3];
    for (int k = 0; k < 3; k++) {
        uint32_t bits;
        memcpy(&bits, &exact[k], 4);
        double up = 0, p = (bits & 0xffff) / 65536.0;
        assert_true(p > 0.05 && p < 0.95);
        for (int i = 0; i < N; i++) {
            assert_true(rounded[k][i] == bits >> 16 || rounded[k][i] == (bits >> 16) + 1);
            up += rounded[k][i] != bits >> 16;
        }
        share[k] = up / N;
        assert_true(fabs(share[k] - p) <= 5 * sqrt(p * (1 - p) / N));
    }
    for (int k = 0; k < 3; k++) {
        int l = (k + 1) % 3;
        uint32_t bits_k, bits_l;
        memcpy(&bits_k, &exact[k], 4), memcpy(&bits_l, &exact[l], 4);
        double both = 0, p = share[k] * share[l];
        for (int i = 0; i < N; i++) both += rounded[k][i] != bits_k >> 16 && rounded[l][i] != bits_l >> 16;
        assert_true(fabs(both / N - p) <= 5 * sqrt(p * (1 - p) / N));
    }
    optimizer_free(o);
    free(g);
    device_close(dev);
}

/* v with beta2 = 0.999 moves by a thousandth of itself a step, less than half an ulp of bf16: nearest would stay where
 * it starts, stochastic rounding must follow. 256 elements of deviation below 1% each. */
static void test_bf16_moments_do_not_stall(void **state) {
    (void)state;
    enum { N = 256, STEPS = 1000 };
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    optimizer o = optimizer_init(F32, BF16, false, N);
    float g[N];
    for (int i = 0; i < N; i++) ((bf16 *)o.v)[i] = bf16_from_f32(1), g[i] = 0.5f;
    setting a = base;
    a.grad_scale = 1, a.beta2 = 0.999f;
    for (a.step = 1; a.step <= STEPS; a.step++) step_piece(dev, &o, g, 0, N, a);
    double mean = 0, want = 0.25 + 0.75 * pow((double)a.beta2, STEPS);
    for (int i = 0; i < N; i++) mean += bf16_to_f32(((bf16 *)o.v)[i]) / (double)N;
    /* each step's error is under an ulp, 2^-8 of a value under 1, and has mean 0; it decays over 1/(1-beta2) = 1000
     * steps: deviation of one element under 2^-8/2 * sqrt(1000/2), of the mean 16 times less; 5 of those */
    double deviation = 0x1p-9 * sqrt(500) / 16;
    assert_true(fabs(mean - want) <= 5 * deviation);
    assert_true(mean < 0.8); /* rounding to nearest would give 1 */
    optimizer_free(o);
    device_close(dev);
}

static void test_not_a_number_stays(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    for (int k = 0; k < 4; k++) {
        dtype t = k & 1 ? BF16 : F32;
        optimizer o = optimizer_init(t, k & 2 ? BF16 : F32, false, 40);
        float g[40] = {0}, w[40];
        uint32_t nan = 0x7fffffff; /* adding random bits to this payload would carry into the exponent */
        memcpy(&g[20], &nan, 4);
        step_piece(dev, &o, g, 0, 40, base);
        widen(w, o.w, t, 40);
        for (int i = 0; i < 40; i++) assert_true(isnan(w[i]) == (i == 20));
        optimizer_free(o);
    }
    device_close(dev);
}

static void test_bad_arguments(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    float x[4] = {0};
    setting a = base;
    step_verdict verdict = verdict_of(a);
    adamw_piece p = {.n = 0, .weights = x, .m = x, .v = x, .grads = x};
    FAILS(ARG, "0 elements", adamw_step(dev, &p, args_of(a), &verdict));
    p.n = 1, a.beta2 = 1;
    FAILS(ARG, "beta", adamw_step(dev, &p, args_of(a), &verdict));
    device_close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32_against_reference),
        cmocka_unit_test(test_master),
        cmocka_unit_test(test_pieces_and_threads_make_no_difference),
        cmocka_unit_test(test_random_bits_are_as_stated),
        cmocka_unit_test(test_rounding_is_unbiased_and_independent),
        cmocka_unit_test(test_bf16_moments_do_not_stall),
        cmocka_unit_test(test_not_a_number_stays),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
