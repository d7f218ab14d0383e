#include "layers/attention.h"

#include "tests/check.h"

/* Every value is compared with a float64 reference within its own bound: roundings * 2^-24 * magnitude, where
 * magnitude is the same sum with every term's absolute value, made beside the reference. Roundings of one value:
 *   score: D + 2 (products and sums, scale), each relative to A = max of scale * sum |q||k| over all pairs
 *   probability: its score's and lse's errors as absolute errors of the exponent, lse's sum of Tk terms, the rounding
 * of lse and of s - lse (|s - lse| <= A + |lse|), exp (2 ulp = 4), the rescaling of sums by tile gradient of a score: D
 * + 2 more; sum over keys, or over queries and the heads of a group: Tk * H / K; 16 for the rest and then once the
 * roundoff of the dtype. */

typedef struct {
    attention_shape s;
    dtype t;
    i64 nq, nk, no;               /* elements of the buffers, gaps between rows included */
    void *q, *k, *v, *o, *d_o;    /* k and v are packed; where Tq = Tk they follow q in the same rows */
    void *dq, *dk, *dv, *scratch; /* laid out as q, k and v */
    double *wq, *wk, *wv, *wd_o;  /* widened */
    float *lse;
    double roundings, *p; /* roundings from a score to its results; probabilities [B,H,Tq,Tk] */
} problem;

static const float untouched = 77; /* in the gaps between rows of an output */

static void *allocate(i64 n, size_t bytes) {
    void *p = calloc(n > 0 ? (size_t)n : 1, bytes);
    assert_non_null(p);
    return p;
}

static void *filled(dtype t, i64 n) {
    void *x = allocate(n, dtype_bytes(t));
    for (i64 i = 0; i < n; i++)
        if (t == BF16) ((bf16 *)x)[i] = bf16_from_f32(untouched);
        else ((float *)x)[i] = untouched;
    return x;
}

static float get(const void *x, dtype t, i64 i) {
    float f;
    widen(&f, tensor_at(x, t, i), t, 1);
    return f;
}

static void reference_probabilities(problem *p) {
    attention_shape s = p->s;
    double absolute = 0, largest_lse = 0;
    for (i64 b = 0; b < s.B; b++)
        for (i64 h = 0; h < s.H; h++)
            for (i64 i = 0; i < s.Tq; i++) {
                double *row = p->p + ((b * s.H + h) * s.Tq + i) * s.Tk, max = -INFINITY, sum = 0;
                i64 seen = i + 1 + s.Tk - s.Tq;
                for (i64 j = 0; j < seen; j++) {
                    double dot = 0, a = 0;
                    for (i64 d = 0; d < s.D; d++) {
                        double x = p->wq[(b * s.Tq + i) * s.ldq + h * s.D + d] *
                                   p->wk[(b * s.Tk + j) * s.ldk + h / (s.H / s.K) * s.D + d];
                        dot += x, a += fabs(x);
                    }
                    row[j] = dot * (double)s.scale;
                    max = fmax(max, row[j]), absolute = fmax(absolute, a * (double)s.scale);
                }
                for (i64 j = 0; j < seen; j++) sum += exp(row[j] - max);
                for (i64 j = 0; j < seen; j++) row[j] = exp(row[j] - max) / sum;
                largest_lse = fmax(largest_lse, fabs(max + log(sum)));
            }
    p->roundings = 2 * (double)(s.D + 2) * absolute + (absolute + 2 * largest_lse) + (double)(s.D + 2) +
                   2 * (double)(s.Tk * s.H / s.K) + 16;
}

static problem open_problem(dtype t, i64 B, i64 Tq, i64 Tk, i64 H, i64 K, i64 D, float std) {
    bool packed = Tq == Tk;
    i64 kv = 2 * K * D + 3, all = H * D + kv; /* 3 elements between rows: strides without any alignment */
    attention_shape s = {
        B, Tq, Tk, H, K, D, packed ? all : H * D + 1, packed ? all : kv, H * D + 5, (float)(1 / sqrt((double)D))};
    problem p = {.s = s, .t = t, .nq = B * Tq * s.ldq, .nk = B * Tk * s.ldk, .no = B * Tq * s.ldo};
    p.q = allocate(p.nq, dtype_bytes(t)), p.wq = allocate(p.nq, 8);
    random_tensor(p.q, p.wq, t, p.nq, std, 1);
    p.k = p.q, p.wk = p.wq, p.dq = filled(t, p.nq), p.dk = p.dq;
    if (!packed) {
        p.k = allocate(p.nk, dtype_bytes(t)), p.wk = allocate(p.nk, 8);
        random_tensor(p.k, p.wk, t, p.nk, std, 2);
    } else p.k = tensor_at(p.q, t, H * D), p.wk = p.wq + H * D, p.dk = tensor_at(p.dq, t, H * D);
    p.v = tensor_at(p.k, t, K * D), p.wv = p.wk + K * D, p.dv = tensor_at(p.dk, t, K * D);
    p.o = filled(t, p.no), p.lse = allocate(B * H * Tq, 4);
    p.d_o = allocate(p.no, dtype_bytes(t)), p.wd_o = allocate(p.no, 8);
    random_tensor(p.d_o, p.wd_o, t, p.no, 1, 3);
    p.p = allocate(B * H * Tq * Tk, 8);
    reference_probabilities(&p);
    return p;
}

static void close_problem(problem *p) {
    if (p->s.Tq != p->s.Tk) free(p->k), free(p->wk);
    free(p->q), free(p->wq), free(p->dq), free(p->o), free(p->lse), free(p->d_o), free(p->wd_o), free(p->p);
    free(p->scratch);
}

static status_code run_forward(device *dev, problem *p) {
    return attention_forward(dev, p->t, p->o, p->lse, p->q, p->k, p->v, p->s);
}

static status_code run_backward(device *dev, problem *p) {
    free(p->scratch);
    p->scratch = malloc(attention_backward_scratch_bytes(dev, p->s)); /* not zeroed: the kernel does not rely on it */
    memset(p->scratch, 0xff, attention_backward_scratch_bytes(dev, p->s));
    const attention_tensors x = {.q = p->q, .k = p->k, .v = p->v, .o = p->o, .lse = p->lse};
    const attention_gradients d = {.dq = p->dq, .dk = p->dk, .dv = p->dv, .d_o = p->d_o};
    return attention_backward(dev, p->t, &d, &x, p->scratch, p->s);
}

/* rows of `width` elements with row stride ld against a compact reference; `extra` is the reference's own error */
static void check_rows(const char *what, const problem *p, const void *x, i64 ld, i64 rows, i64 width,
                       const double *reference, const double *magnitude, double extra) {
    double once = p->t == BF16 ? BF16_ROUNDOFF : F32_ROUNDOFF;
    for (i64 i = 0; i < rows * width; i++) {
        double got = (double)get(x, p->t, i / width * ld + i % width);
        double bound = p->roundings * F32_ROUNDOFF * magnitude[i] + 1e-30 + extra;
        bound += once * (fabs(reference[i]) + bound);
        if (!(fabs(got - reference[i]) <= bound))
            fail_msg("%s T %d,%d H %d K %d D %d %s: element %d of row %d is %.9g, expected %.9g within %.3g", what,
                     (int)p->s.Tq, (int)p->s.Tk, (int)p->s.H, (int)p->s.K, (int)p->s.D, dtype_name(p->t),
                     (int)(i % width), (int)(i / width), got, reference[i], bound);
    }
}

static void check_forward(const problem *p) {
    attention_shape s = p->s;
    i64 width = s.H * s.D;
    double *o = allocate(s.B * s.Tq * width, 8), *magnitude = allocate(s.B * s.Tq * width, 8);
    for (i64 b = 0; b < s.B; b++)
        for (i64 h = 0; h < s.H; h++)
            for (i64 i = 0; i < s.Tq; i++) {
                const double *row = p->p + ((b * s.H + h) * s.Tq + i) * s.Tk;
                for (i64 j = 0; j < s.Tk; j++)
                    for (i64 d = 0; d < s.D; d++) {
                        double x = row[j] * p->wv[(b * s.Tk + j) * s.ldk + h / (s.H / s.K) * s.D + d];
                        o[(b * s.Tq + i) * width + h * s.D + d] += x;
                        magnitude[(b * s.Tq + i) * width + h * s.D + d] += fabs(x);
                    }
                /* lse = s_0 - log p_00 for the first key, whose score is at hand; error: `roundings` of the exponent */
                double dot = 0;
                for (i64 d = 0; d < s.D; d++)
                    dot += p->wq[(b * s.Tq + i) * s.ldq + h * s.D + d] *
                           p->wk[b * s.Tk * s.ldk + h / (s.H / s.K) * s.D + d];
                if (row[0] < 1e-200) continue; /* its log has no digits left */
                double lse = dot * (double)s.scale - log(row[0]);
                assert_true(fabs((double)p->lse[(b * s.H + h) * s.Tq + i] - lse) <= p->roundings * F32_ROUNDOFF);
            }
    check_rows("o", p, p->o, s.ldo, s.B * s.Tq, width, o, magnitude, 0);
    for (i64 i = 0; i < p->no; i++)
        if (i % s.ldo >= width) assert_true(get(p->o, p->t, i) == untouched);
    free(o), free(magnitude);
}

/* from o rounded to its dtype, as the layer gets it */
static void check_backward(const problem *p) {
    attention_shape s = p->s;
    i64 T = s.Tq, width = s.H * s.D, kv = s.K * s.D;
    double *dq = allocate(s.B * T * width, 8), *mq = allocate(s.B * T * width, 8);
    double *dk = allocate(s.B * T * kv, 8), *mk = allocate(s.B * T * kv, 8);
    double *dv = allocate(s.B * T * kv, 8), *mv = allocate(s.B * T * kv, 8);
    for (i64 b = 0; b < s.B; b++)
        for (i64 h = 0; h < s.H; h++)
            for (i64 i = 0; i < T; i++) {
                i64 q0 = (b * T + i) * s.ldq + h * s.D, o0 = (b * T + i) * s.ldo + h * s.D, g = h / (s.H / s.K);
                double delta = 0, delta_magnitude = 0;
                for (i64 d = 0; d < s.D; d++) {
                    double x = (double)get(p->o, p->t, o0 + d) * p->wd_o[o0 + d];
                    delta += x, delta_magnitude += fabs(x);
                }
                for (i64 j = 0; j <= i; j++) {
                    i64 k0 = (b * T + j) * s.ldk + g * s.D;
                    double dp = 0, m = 0, prob = p->p[((b * s.H + h) * T + i) * T + j];
                    for (i64 d = 0; d < s.D; d++) {
                        double x = p->wd_o[o0 + d] * p->wv[k0 + d];
                        dp += x, m += fabs(x);
                    }
                    double ds = prob * (dp - delta) * (double)s.scale;
                    double ms = prob * (m + delta_magnitude) * (double)s.scale;
                    for (i64 d = 0; d < s.D; d++) {
                        i64 to_q = (b * T + i) * width + h * s.D + d, to_k = (b * T + j) * kv + g * s.D + d;
                        dq[to_q] += ds * p->wk[k0 + d], mq[to_q] += ms * fabs(p->wk[k0 + d]);
                        dk[to_k] += ds * p->wq[q0 + d], mk[to_k] += ms * fabs(p->wq[q0 + d]);
                        dv[to_k] += prob * p->wd_o[o0 + d], mv[to_k] += prob * fabs(p->wd_o[o0 + d]);
                    }
                }
            }
    check_rows("dq", p, p->dq, s.ldq, s.B * T, width, dq, mq, 0);
    check_rows("dk", p, p->dk, s.ldk, s.B * T, kv, dk, mk, 0);
    check_rows("dv", p, p->dv, s.ldk, s.B * T, kv, dv, mv, 0);
    for (i64 i = 0; i < p->nq; i++)
        if (i % s.ldq >= width + 2 * kv) assert_true(get(p->dq, p->t, i) == untouched);
    free(dq), free(dk), free(dv), free(mq), free(mk), free(mv);
}

static void matches_reference(void **state) {
    device *dev = *state;
    static const i64 shapes[][6] = {/* B, Tq, Tk, H, K, D */
                                    {1, 1, 1, 1, 1, 1},       {2, 17, 17, 2, 2, 16}, {1, 63, 63, 3, 1, 5},
                                    {2, 64, 64, 4, 2, 64},    {1, 65, 65, 2, 1, 80}, {1, 200, 200, 4, 2, 33},
                                    {1, 130, 130, 1, 1, 256}, {1, 1, 200, 4, 2, 64}, {2, 5, 77, 2, 1, 48},
                                    {1, 129, 161, 1, 1, 96},  {3, 1, 64, 1, 1, 127}, {1, 33, 34, 6, 3, 17}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = F32; t <= BF16; t++) {
            const i64 *n = shapes[i];
            problem p = open_problem((dtype)t, n[0], n[1], n[2], n[3], n[4], n[5], 1);
            OK(run_forward(dev, &p));
            check_forward(&p);
            if (n[1] == n[2]) {
                OK(run_backward(dev, &p));
                check_backward(&p);
            }
            close_problem(&p);
        }
}

/* scores of some +-300, where exp without the running maximum would overflow and most probabilities underflow */
static void large_scores_stay_stable(void **state) {
    device *dev = *state;
    for (int t = F32; t <= BF16; t++) {
        problem p = open_problem((dtype)t, 1, 150, 150, 2, 1, 64, 9);
        OK(run_forward(dev, &p));
        check_forward(&p);
        OK(run_backward(dev, &p));
        check_backward(&p);
        close_problem(&p);
    }
}

/* sum of o * d_o in float64, after the reference's probabilities are made anew */
static double loss(problem *p) {
    attention_shape s = p->s;
    reference_probabilities(p);
    double sum = 0;
    for (i64 b = 0; b < s.B; b++)
        for (i64 h = 0; h < s.H; h++)
            for (i64 i = 0; i < s.Tq; i++)
                for (i64 j = 0; j < s.Tk; j++)
                    for (i64 d = 0; d < s.D; d++)
                        sum += p->p[((b * s.H + h) * s.Tq + i) * s.Tk + j] *
                               p->wv[(b * s.Tk + j) * s.ldk + h / (s.H / s.K) * s.D + d] *
                               p->wd_o[(b * s.Tq + i) * s.ldo + h * s.D + d];
    return sum;
}

/* Central differences with step 2^-13: truncation step^2/6 times a third derivative of some 10^2 at most (products of
 * three values below 4), 3e-7; cancellation 2^-53 * 10^2 / step, 1e-10. The magnitudes of sums of 5 keys and 4 dims of
 * values below 4 stay below 500, and dq of all is one row of q, k and v. */
static void gradients_are_finite_differences(void **state) {
    device *dev = *state;
    problem p = open_problem(F32, 2, 5, 5, 4, 2, 4, 1);
    attention_shape s = p.s;
    OK(run_forward(dev, &p));
    OK(run_backward(dev, &p));
    double step = 1.0 / 8192, magnitude = 500;
    for (i64 i = 0; i < p.nq; i++) {
        if (i % s.ldq >= s.H * s.D + 2 * s.K * s.D) continue;
        double kept = p.wq[i];
        p.wq[i] = kept + step;
        double up = loss(&p);
        p.wq[i] = kept - step;
        double difference = (up - loss(&p)) / (2 * step);
        p.wq[i] = kept;
        reference_probabilities(&p);
        check_rows("difference", &p, tensor_at(p.dq, F32, i), 1, 1, 1, &difference, &magnitude, 1e-6);
    }
    close_problem(&p);
}

static void same_bits_for_any_number_of_threads(void **state) {
    (void)state;
    for (int t = F32; t <= BF16; t++) {
        problem one = open_problem((dtype)t, 2, 150, 150, 4, 2, 40, 1);
        problem three = open_problem((dtype)t, 2, 150, 150, 4, 2, 40, 1);
        device *dev;
        OK(device_open(&dev, "cpu", 1, 0));
        OK(run_forward(dev, &one));
        OK(run_backward(dev, &one));
        device_close(dev);
        OK(device_open(&dev, "cpu", 3, 0));
        OK(run_forward(dev, &three));
        OK(run_backward(dev, &three));
        device_close(dev);
        assert_memory_equal(one.o, three.o, (size_t)one.no * dtype_bytes(one.t));
        assert_memory_equal(one.lse, three.lse, (size_t)(one.s.B * one.s.H * one.s.Tq) * 4);
        assert_memory_equal(one.dq, three.dq, (size_t)one.nq * dtype_bytes(one.t));
        close_problem(&one);
        close_problem(&three);
    }
}

/* With a key/value cache the last positions alone give the bits that all positions together give. */
static void generation_repeats_training(void **state) {
    device *dev = *state;
    problem p = open_problem(BF16, 1, 200, 200, 4, 2, 64, 1);
    attention_shape s = p.s;
    OK(run_forward(dev, &p));
    static const i64 lasts[] = {1, 7, 40, 199};
    for (size_t n = 0; n < sizeof lasts / sizeof *lasts; n++) {
        i64 first = s.Tq - lasts[n];
        attention_shape last = s;
        last.Tq = lasts[n];
        void *o = filled(BF16, last.Tq * s.ldo);
        float *lse = allocate(s.H * last.Tq, 4);
        OK(attention_forward(dev, BF16, o, lse, tensor_at(p.q, BF16, first * s.ldq), p.k, p.v, last));
        assert_memory_equal(o, tensor_at(p.o, BF16, first * s.ldo), (size_t)(last.Tq * s.ldo) * 2);
        for (i64 h = 0; h < s.H; h++)
            assert_memory_equal(lse + h * last.Tq, p.lse + h * s.Tq + first, (size_t)last.Tq * 4);
        free(o), free(lse);
    }
    close_problem(&p);
}

static void set_nan(void *x, dtype t, i64 i) {
    if (t == BF16) ((bf16 *)x)[i] = 0x7fc0;
    else ((float *)x)[i] = NAN;
}

/* whether row i of head h of o (or dq) is all NaN (1), all finite (0), or neither (-1) */
static int nan_row(const void *x, const problem *p, i64 ld, i64 i, i64 h) {
    i64 nans = 0;
    for (i64 d = 0; d < p->s.D; d++) nans += isnan(get(x, p->t, i * ld + h * p->s.D + d)) != 0;
    return nans == p->s.D ? 1 : nans ? -1 : 0;
}

static void nan_propagates(void **state) {
    device *dev = *state;
    for (int t = F32; t <= BF16; t++) {
        i64 T = 100, at_row = 70;
        problem p = open_problem((dtype)t, 1, T, T, 2, 2, 24, 1);
        attention_shape s = p.s;
        set_nan(p.q, p.t, at_row * s.ldq + 3); /* head 0 */
        OK(run_forward(dev, &p));
        for (i64 i = 0; i < T; i++) {
            assert_int_equal(nan_row(p.o, &p, s.ldo, i, 0), i == at_row);
            assert_int_equal(nan_row(p.o, &p, s.ldo, i, 1), 0);
            assert_int_equal(isnan(p.lse[i]) != 0, i == at_row);
        }
        OK(run_backward(dev, &p));
        assert_int_equal(nan_row(p.dq, &p, s.ldq, at_row, 0), 1);
        assert_int_equal(nan_row(p.dq, &p, s.ldq, at_row - 1, 0), 0);
        for (i64 j = 0; j < at_row; j++) {
            assert_int_equal(nan_row(p.dk, &p, s.ldk, j, 0), 1);
            assert_int_equal(nan_row(p.dv, &p, s.ldk, j, 0), 1);
            assert_int_equal(nan_row(p.dk, &p, s.ldk, j, 1), 0);
        }
        close_problem(&p);

        p = open_problem((dtype)t, 1, T, T, 2, 2, 24, 1);
        set_nan(p.k, p.t, at_row * s.ldk + s.D + 5); /* head 1 */
        OK(run_forward(dev, &p));
        for (i64 i = 0; i < T; i++) {
            assert_int_equal(nan_row(p.o, &p, s.ldo, i, 1), i >= at_row);
            assert_int_equal(nan_row(p.o, &p, s.ldo, i, 0), 0);
        }
        close_problem(&p);

        p = open_problem((dtype)t, 1, T, T, 2, 2, 24, 1);
        set_nan(p.v, p.t, at_row * s.ldk);
        OK(run_forward(dev, &p));
        for (i64 i = at_row; i < T; i++) assert_true(isnan(get(p.o, p.t, i * s.ldo)));
        assert_false(isnan(get(p.o, p.t, (T - 1) * s.ldo + 1)));
        close_problem(&p);

        p = open_problem((dtype)t, 1, T, T, 2, 2, 24, 1);
        OK(run_forward(dev, &p));
        set_nan(p.d_o, p.t, at_row * s.ldo);
        OK(run_backward(dev, &p));
        assert_int_equal(nan_row(p.dq, &p, s.ldq, at_row, 0), 1);
        assert_true(isnan(get(p.dv, p.t, 0)));
        assert_int_equal(nan_row(p.dk, &p, s.ldk, 0, 0), 1);
        assert_int_equal(nan_row(p.dk, &p, s.ldk, 0, 1), 0);
        close_problem(&p);
    }
}

static void counts_the_lower_triangle(void **state) {
    device *dev = *state;
    static const i64 shapes[][6] = {{2, 17, 17, 4, 2, 5}, {1, 3, 70, 2, 2, 16}, {1, 1, 1, 1, 1, 1}};
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
        const i64 *d = shapes[n];
        problem p = open_problem(F32, d[0], d[1], d[2], d[3], d[4], d[5], 1);
        uint64_t pairs = 0;
        for (i64 i = 0; i < p.s.Tq; i++)
            for (i64 j = 0; j < p.s.Tk; j++) pairs += j <= i + p.s.Tk - p.s.Tq;
        uint64_t product = 2 * (uint64_t)(p.s.B * p.s.H * p.s.D) * pairs;
        assert_int_equal(attention_forward_flops(p.s), 2 * product);
        memset(&dev->flops, 0, sizeof dev->flops);
        OK(run_forward(dev, &p));
        assert_int_equal(dev->flops.work[WORK_FORWARD], 2 * product);
        assert_int_equal(meter_flops_executed(&dev->flops), 2 * product);
        dev->recomputing = true;
        OK(run_forward(dev, &p));
        dev->recomputing = false;
        assert_int_equal(dev->flops.work[WORK_FORWARD], 2 * product);
        assert_int_equal(dev->flops.work[WORK_RECOMPUTE], 2 * product);
        if (p.s.Tq == p.s.Tk) {
            memset(&dev->flops, 0, sizeof dev->flops);
            OK(run_backward(dev, &p));
            assert_int_equal(dev->flops.work[WORK_RECOMPUTE], product);
            assert_int_equal(dev->flops.work[WORK_DGRAD], 4 * product);
            assert_int_equal(meter_flops_executed(&dev->flops), 5 * product);
        }
        close_problem(&p);
    }
}

static void refuses_bad_shapes(void **state) {
    device *dev = *state;
    problem p = open_problem(F32, 1, 4, 4, 4, 2, 8, 1);
    attention_shape good = p.s;
    memset(&dev->flops, 0, sizeof dev->flops);
    p.s.H = 3;
    FAILS(ARG, "multiple of 2", run_forward(dev, &p));
    p.s = good, p.s.D = 257;
    FAILS(ARG, "at most 256", run_forward(dev, &p));
    p.s = good, p.s.B = 0;
    FAILS(ARG, "positive", run_forward(dev, &p));
    p.s = good, p.s.Tq = 5;
    FAILS(ARG, "Tq <= Tk", run_forward(dev, &p));
    p.s = good, p.s.ldk = 15;
    FAILS(ARG, "row strides", run_forward(dev, &p));
    p.s = good, p.s.ldo = 31;
    FAILS(ARG, "row strides", run_backward(dev, &p));
    p.s = good, p.s.Tq = 3;
    FAILS(ARG, "as many as keys", run_backward(dev, &p));
    assert_int_equal(meter_flops_executed(&dev->flops), 0); /* nothing ran, so nothing is booked */
    p.s = good;
    close_problem(&p);
}

static int open_device(void **state) { return device_open((device **)state, "cpu", 2, 0); }

static int close_device(void **state) {
    device_close(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_reference),
        cmocka_unit_test(large_scores_stay_stable),
        cmocka_unit_test(gradients_are_finite_differences),
        cmocka_unit_test(same_bits_for_any_number_of_threads),
        cmocka_unit_test(generation_repeats_training),
        cmocka_unit_test(nan_propagates),
        cmocka_unit_test(counts_the_lower_triangle),
        cmocka_unit_test(refuses_bad_shapes),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
