/* Problems for the tests of attention on the CPU, and a float64 reference with a bound of the error of each value. */
#ifndef TALLY_ATTENTION_PROBLEM_H
#define TALLY_ATTENTION_PROBLEM_H

#include "layers/attention.h"

#include "tests/starts.h"

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

static inline void *allocate(i64 n, size_t bytes) {
    void *p = calloc(n > 0 ? (size_t)n : 1, bytes);
    assert_non_null(p);
    return p;
}

static inline void *filled(dtype t, i64 n) {
    void *x = allocate(n, dtype_bytes(t));
    for (i64 i = 0; i < n; i++)
        if (t == BF16) ((bf16 *)x)[i] = bf16_from_f32(untouched);
        else ((float *)x)[i] = untouched;
    return x;
}

static inline float get(const void *x, dtype t, i64 i) {
    float f;
    widen(&f, tensor_at(x, t, i), t, 1);
    return f;
}

/* by the definition in attention.h */
static inline i64 low(attention_shape s, i64 b, i64 i) {
    i64 first = s.starts ? s.starts[b * s.Tq + i] : 0, in_window = i + s.Tk - s.Tq - s.window + 1;
    return s.window && in_window > first ? in_window : first;
}

static inline void reference_probabilities(problem *p) {
    attention_shape s = p->s;
    double absolute = 0, largest_lse = 0;
    for (i64 b = 0; b < s.B; b++)
        for (i64 h = 0; h < s.H; h++)
            for (i64 i = 0; i < s.Tq; i++) {
                double *row = p->p + ((b * s.H + h) * s.Tq + i) * s.Tk, max = -INFINITY, sum = 0;
                i64 first = low(s, b, i), seen = i + 1 + s.Tk - s.Tq;
                for (i64 j = first; j < seen; j++) {
                    double dot = 0, a = 0;
                    for (i64 d = 0; d < s.D; d++) {
                        double x = p->wq[(b * s.Tq + i) * s.ldq + h * s.D + d] *
                                   p->wk[(b * s.Tk + j) * s.ldk + h / (s.H / s.K) * s.D + d];
                        dot += x, a += fabs(x);
                    }
                    row[j] = dot * (double)s.scale;
                    max = fmax(max, row[j]), absolute = fmax(absolute, a * (double)s.scale);
                }
                for (i64 j = first; j < seen; j++) sum += exp(row[j] - max);
                for (i64 j = first; j < seen; j++) row[j] = exp(row[j] - max) / sum;
                largest_lse = fmax(largest_lse, fabs(max + log(sum)));
            }
    p->roundings = 2 * (double)(s.D + 2) * absolute + (absolute + 2 * largest_lse) + (double)(s.D + 2) +
                   2 * (double)(s.Tk * s.H / s.K) + 16;
}

/* a window, and documents of some `document` tokens (0: one a row) */
typedef struct {
    i64 window, document;
} mask;

/* n: B, Tq, Tk, H, K, D */
static inline problem open_masked(dtype t, const i64 n[6], float std, mask m) {
    i64 B = n[0], Tq = n[1], Tk = n[2], H = n[3], K = n[4], D = n[5];
    bool packed = Tq == Tk;
    i64 kv = 2 * K * D + 3, all = H * D + kv; /* 3 elements between rows: strides without any alignment */
    attention_shape s = {.B = B,
                         .Tq = Tq,
                         .Tk = Tk,
                         .H = H,
                         .K = K,
                         .D = D,
                         .ldq = packed ? all : H * D + 1,
                         .ldk = packed ? all : kv,
                         .ldo = H * D + 5,
                         .scale = (float)(1 / sqrt((double)D)),
                         .window = m.window};
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
    if (m.document) p.s.starts = starts_draw(B, Tq, m.document);
    p.s.pairs = (i64)attention_pairs(B, Tq, m.window, p.s.starts);
    reference_probabilities(&p);
    return p;
}

static inline problem open_problem(dtype t, i64 B, i64 Tq, i64 Tk, i64 H, i64 K, i64 D, float std) {
    return open_masked(t, (const i64[]){B, Tq, Tk, H, K, D}, std, (mask){0, 0});
}

static inline void close_problem(problem *p) {
    if (p->s.Tq != p->s.Tk) free(p->k), free(p->wk);
    free(p->q), free(p->wq), free(p->dq), free(p->o), free(p->lse), free(p->d_o), free(p->wd_o), free(p->p);
    free(p->scratch), free((void *)p->s.starts);
}

static inline status_code run_forward(device *dev, problem *p) {
    return attention_forward(dev, p->t, p->o, p->lse, p->q, p->k, p->v, p->s);
}

static inline status_code run_backward(device *dev, problem *p) {
    free(p->scratch);
    p->scratch = malloc(attention_backward_scratch_bytes(dev, p->s)); /* not zeroed: the kernel does not rely on it */
    memset(p->scratch, 0xff, attention_backward_scratch_bytes(dev, p->s));
    const attention_tensors x = {.q = p->q, .k = p->k, .v = p->v, .o = p->o, .lse = p->lse};
    const attention_gradients d = {.dq = p->dq, .dk = p->dk, .dv = p->dv, .d_o = p->d_o};
    return attention_backward(dev, p->t, &d, &x, p->scratch, p->s);
}

/* error: the reference's own */
typedef struct {
    const double *value, *magnitude;
    double error;
} expected;

/* rows of `width` elements with row stride ld against a compact reference */
static inline void check_rows(const char *what, const problem *p, const void *x, i64 ld, i64 rows, i64 width,
                              expected e) {
    double once = p->t == BF16 ? BF16_ROUNDOFF : F32_ROUNDOFF;
    for (i64 i = 0; i < rows * width; i++) {
        double got = (double)get(x, p->t, i / width * ld + i % width);
        double bound = p->roundings * F32_ROUNDOFF * e.magnitude[i] + 1e-30 + e.error;
        bound += once * (fabs(e.value[i]) + bound);
        if (!(fabs(got - e.value[i]) <= bound))
            fail_msg("%s T %d,%d H %d K %d D %d %s: element %d of row %d is %.9g, expected %.9g within %.3g", what,
                     (int)p->s.Tq, (int)p->s.Tk, (int)p->s.H, (int)p->s.K, (int)p->s.D, dtype_name(p->t),
                     (int)(i % width), (int)(i / width), got, e.value[i], bound);
    }
}

static inline void check_forward(const problem *p) {
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
                /* lse = s_f - log p_f of the first key f that is seen; error: `roundings` of the exponent */
                double dot = 0;
                i64 first = low(s, b, i);
                for (i64 d = 0; d < s.D; d++)
                    dot += p->wq[(b * s.Tq + i) * s.ldq + h * s.D + d] *
                           p->wk[(b * s.Tk + first) * s.ldk + h / (s.H / s.K) * s.D + d];
                if (row[first] < 1e-200) continue; /* its log has no digits left */
                double lse = dot * (double)s.scale - log(row[first]);
                assert_true(fabs((double)p->lse[(b * s.H + h) * s.Tq + i] - lse) <= p->roundings * F32_ROUNDOFF);
            }
    check_rows("o", p, p->o, s.ldo, s.B * s.Tq, width, (expected){o, magnitude, 0});
    for (i64 i = 0; i < p->no; i++)
        if (i % s.ldo >= width) assert_true(get(p->o, p->t, i) == untouched);
    free(o), free(magnitude);
}

/* from o rounded to its dtype, as the layer gets it */
static inline void check_backward(const problem *p) {
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
    check_rows("dq", p, p->dq, s.ldq, s.B * T, width, (expected){dq, mq, 0});
    check_rows("dk", p, p->dk, s.ldk, s.B * T, kv, (expected){dk, mk, 0});
    check_rows("dv", p, p->dv, s.ldk, s.B * T, kv, (expected){dv, mv, 0});
    for (i64 i = 0; i < p->nq; i++)
        if (i % s.ldq >= width + 2 * kv) assert_true(get(p->dq, p->t, i) == untouched);
    free(dq), free(dk), free(dv), free(mq), free(mk), free(mv);
}

static inline int open_device(void **state) { return device_open((device **)state, "cpu", 2, 0); }

static inline int close_device(void **state) {
    device_close(*state);
    return 0;
}

#endif
