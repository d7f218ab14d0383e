#include "layers/attention.h"
#include "tests/cuda_pair.h"

/* A GEMM on the GPU is only assumed to sum in f32. Roundings between the two halves:
 *   f32: scores of D terms, exponents of that error, sums over T keys: D + T, and 16 for exp, scale, delta and the last
 *     division
 *   bf16: p (or ds) as an operand of the next product, and the result on either side: 3, and 1 for all of f32 */
static double tolerance(dtype t, attention_shape s) {
    return t == BF16 ? 4 * BF16_ROUNDOFF : (double)(s.D + s.Tk + 16) * F32_ROUNDOFF;
}

/* q, k and v in the same rows where Tq = Tk, as the model has them; else k and v in rows of their own */
typedef struct {
    attention_shape s;
    dtype t;
    i64 no, k_at, v_at, n; /* elements: size of o, offsets of k and v, size of q, k and v together */
    void *qkv, *o, *d_o, *dqkv, *scratch;
    float *lse;
    void *c_qkv, *c_o, *c_d_o, *c_dqkv, *c_scratch;
    float *c_lse;
} problem;

static size_t bytes_of(const problem *p, i64 n) { return (size_t)n * dtype_bytes(p->t); }
static i64 lse_count(const problem *p) { return p->s.B * p->s.H * p->s.Tq; }

static void *cuda_copy(const problem *p, const void *x, i64 n) { return to_cuda(x, bytes_of(p, n)); }

/* gap: elements between rows */
static problem open_problem(dtype t, i64 B, i64 Tq, i64 Tk, i64 H, i64 K, i64 D, i64 gap, float std) {
    problem p = {.t = t, .s = {B, Tq, Tk, H, K, D, 0, 0, H * D + gap, (float)(1 / sqrt((double)D))}};
    if (Tq == Tk) p.s.ldq = p.s.ldk = (H + 2 * K) * D + gap, p.k_at = H * D, p.n = B * Tq * p.s.ldq;
    else p.s.ldq = H * D + gap, p.s.ldk = 2 * K * D + gap, p.k_at = B * Tq * p.s.ldq, p.n = p.k_at + B * Tk * p.s.ldk;
    p.v_at = p.k_at + K * D, p.no = B * Tq * p.s.ldo;
    p.qkv = malloc(bytes_of(&p, p.n)), p.o = malloc(bytes_of(&p, p.no)), p.d_o = malloc(bytes_of(&p, p.no));
    p.dqkv = malloc(bytes_of(&p, p.n)), p.lse = malloc((size_t)lse_count(&p) * 4);
    p.scratch = malloc(attention_backward_scratch_bytes(both.cpu, p.s));
    random_tensor(p.qkv, NULL, t, p.n, std, 1);
    random_tensor(p.d_o, NULL, t, p.no, 1, 2);
    p.c_qkv = cuda_copy(&p, p.qkv, p.n), p.c_d_o = cuda_copy(&p, p.d_o, p.no);
    p.c_o = cuda_unwritten(bytes_of(&p, p.no)), p.c_dqkv = cuda_unwritten(bytes_of(&p, p.n));
    p.c_lse = cuda_unwritten((size_t)lse_count(&p) * 4);
    p.c_scratch = cuda_unwritten(attention_backward_scratch_bytes(both.cuda, p.s));
    return p;
}

static void close_problem(problem *p) {
    free(p->qkv), free(p->o), free(p->d_o), free(p->dqkv), free(p->lse), free(p->scratch);
    cuda_release(p->c_qkv, bytes_of(p, p->n)), cuda_release(p->c_o, bytes_of(p, p->no));
    cuda_release(p->c_d_o, bytes_of(p, p->no)), cuda_release(p->c_dqkv, bytes_of(p, p->n));
    cuda_release(p->c_lse, (size_t)lse_count(p) * 4);
    cuda_release(p->c_scratch, attention_backward_scratch_bytes(both.cuda, p->s));
}

static void run_forward(problem *p) {
    dtype t = p->t;
    OK(attention_forward(both.cpu, t, p->o, p->lse, p->qkv, tensor_at(p->qkv, t, p->k_at),
                         tensor_at(p->qkv, t, p->v_at), p->s));
    OK(attention_forward(both.cuda, t, p->c_o, p->c_lse, p->c_qkv, tensor_at(p->c_qkv, t, p->k_at),
                         tensor_at(p->c_qkv, t, p->v_at), p->s));
}

/* q, k and v, and their gradients, of rows that hold all three */
static attention_tensors tensors_of(const problem *p, const void *qkv, const void *o, const float *lse) {
    return (attention_tensors){
        .q = qkv, .k = tensor_at(qkv, p->t, p->k_at), .v = tensor_at(qkv, p->t, p->v_at), .o = o, .lse = lse};
}

static attention_gradients gradients_of(const problem *p, void *dqkv, const void *d_o) {
    return (attention_gradients){
        .dq = dqkv, .dk = tensor_at(dqkv, p->t, p->k_at), .dv = tensor_at(dqkv, p->t, p->v_at), .d_o = d_o};
}

static void cuda_backward(problem *p) {
    const attention_tensors x = tensors_of(p, p->c_qkv, p->c_o, p->c_lse);
    const attention_gradients d = gradients_of(p, p->c_dqkv, p->c_d_o);
    OK(attention_backward(both.cuda, p->t, &d, &x, p->c_scratch, p->s));
}

/* both from the CPU's o and lse, so that only the backward differs */
static void run_backward(problem *p) {
    OK(both.cuda->ops->copy(both.cuda, p->c_o, p->o, bytes_of(p, p->no)));
    OK(both.cuda->ops->copy(both.cuda, p->c_lse, p->lse, (size_t)lse_count(p) * 4));
    const attention_tensors x = tensors_of(p, p->qkv, p->o, p->lse);
    const attention_gradients d = gradients_of(p, p->dqkv, p->d_o);
    OK(attention_backward(both.cpu, p->t, &d, &x, p->scratch, p->s));
    cuda_backward(p);
}

/* `width` elements from `first` of rows, compact, in f32 */
static float *compact(dtype t, const void *x, i64 rows, i64 ld, i64 first, i64 width) {
    float *y = malloc((size_t)(rows * width) * 4);
    for (i64 i = 0; i < rows; i++) widen(y + i * width, tensor_at(x, t, i * ld + first), t, width);
    return y;
}

static void *snapshot(const problem *p, const void *cuda, i64 n) {
    void *copy = malloc(bytes_of(p, n));
    from_cuda(copy, cuda, bytes_of(p, n));
    return copy;
}

static void check_rows(const char *what, const problem *p, const void *cuda, i64 n, const void *cpu, i64 rows, i64 ld,
                       i64 first, i64 width, double limit) {
    void *copy = snapshot(p, cuda, n);
    float *got = compact(p->t, copy, rows, ld, first, width), *expected = compact(p->t, cpu, rows, ld, first, width);
    double *wide = malloc((size_t)(rows * width) * 8);
    for (i64 i = 0; i < rows * width; i++) wide[i] = (double)expected[i];
    double d = relative_l2(got, wide, rows * width);
    if (!(d <= limit))
        fail_msg("%s %s T %d,%d H %d K %d D %d: relative distance %.3g, tolerance %.3g", what, dtype_name(p->t),
                 (int)p->s.Tq, (int)p->s.Tk, (int)p->s.H, (int)p->s.K, (int)p->s.D, d, limit);
    free(wide), free(expected), free(got), free(copy);
}

/* the gaps between rows must still be NaN */
static void check_gap(const problem *p, const void *cuda, i64 n, i64 rows, i64 ld, i64 used) {
    void *copy = snapshot(p, cuda, n);
    float *gap = compact(p->t, copy, rows, ld, used, ld - used);
    for (i64 i = 0; i < rows * (ld - used); i++) assert_true(isnan(gap[i]));
    free(gap), free(copy);
}

static void check_forward(problem *p) {
    attention_shape s = p->s;
    run_forward(p);
    check_rows("o", p, p->c_o, p->no, p->o, s.B * s.Tq, s.ldo, 0, s.H * s.D, tolerance(p->t, s));
    check_gap(p, p->c_o, p->no, s.B * s.Tq, s.ldo, s.H * s.D);
    check_same("lse", F32, p->c_lse, p->lse, lse_count(p), tolerance(F32, s));
}

static void check_backward(problem *p) {
    attention_shape s = p->s;
    i64 rows = s.B * s.Tq;
    double limit = tolerance(p->t, s);
    run_backward(p);
    if (s.Tq == 1) { /* one key: dq and dk are 0 but for the roundings of do.v - do.o */
        void *d = snapshot(p, p->c_dqkv, p->n);
        float *got = compact(p->t, d, rows, s.ldq, 0, s.H * s.D + s.K * s.D);
        for (i64 i = 0; i < rows * (s.H + s.K) * s.D; i++)
            assert_true(fabs((double)got[i]) <= (double)(s.D * s.D) * F32_ROUNDOFF * 16);
        free(got), free(d);
        limit = INFINITY;
    }
    check_rows("dq", p, p->c_dqkv, p->n, p->dqkv, rows, s.ldq, 0, s.H * s.D, limit);
    check_rows("dk", p, p->c_dqkv, p->n, p->dqkv, rows, s.ldk, p->k_at, s.K * s.D, limit);
    check_rows("dv", p, p->c_dqkv, p->n, p->dqkv, rows, s.ldk, p->v_at, s.K * s.D, tolerance(p->t, s));
    check_gap(p, p->c_dqkv, p->n, rows, s.ldq, (s.H + 2 * s.K) * s.D);
}

static void both_ways(dtype t, i64 B, i64 T, i64 H, i64 K, i64 D, i64 gap) {
    problem p = open_problem(t, B, T, T, H, K, D, gap, 1);
    check_forward(&p);
    check_backward(&p);
    close_problem(&p);
}

/* counted by the emulation only */
extern long simt_ldmatrix_conflicts(void) __attribute__((weak));

static void tensor_cores_are_the_cpu(void **state) {
    (void)state;
    static const i64 sizes[] = {64, 96, 128};
    for (int i = 0; i < 3; i++) {
        both_ways(BF16, 1, 200, 2, 1, sizes[i], 8);
        both_ways(BF16, 2, 100, 2, 2, sizes[i], 0);
    }
    both_ways(BF16, 1, 1, 1, 1, 64, 0);
    both_ways(BF16, 2, 17, 4, 1, 64, 16);
    both_ways(BF16, 1, 64, 2, 1, 128, 0);
    both_ways(BF16, 1, 300, 1, 1, 64, 0);
    if (simt_ldmatrix_conflicts) assert_int_equal(simt_ldmatrix_conflicts(), 0);
}

static void general_is_the_cpu(void **state) {
    (void)state;
    both_ways(F32, 1, 100, 4, 1, 6, 1);
    both_ways(F32, 2, 64, 2, 2, 8, 0);
    both_ways(F32, 1, 100, 4, 2, 64, 0);
    both_ways(F32, 1, 33, 1, 1, 80, 3);
    both_ways(F32, 1, 70, 1, 1, 256, 0);
    both_ways(F32, 1, 1, 2, 1, 5, 0);
    both_ways(BF16, 1, 70, 2, 1, 80, 0);
    both_ways(BF16, 1, 40, 2, 1, 6, 1);
    both_ways(BF16, 1, 40, 1, 1, 200, 0);
    both_ways(BF16, 1, 70, 2, 1, 64, 3); /* strides that 16-byte accesses do not allow */
}

static void generation_is_the_cpu(void **state) {
    (void)state;
    static const i64 shapes[][6] = {/* B, Tq, Tk, H, K, D */
                                    {1, 1, 600, 4, 2, 64}, {2, 3, 257, 2, 1, 6},   {1, 8, 30, 1, 1, 256},
                                    {1, 5, 258, 1, 1, 80}, {1, 40, 170, 2, 1, 64}, {1, 130, 131, 1, 1, 96},
                                    {2, 33, 70, 2, 2, 24}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = F32; t <= BF16; t++) {
            const i64 *n = shapes[i];
            problem p = open_problem((dtype)t, n[0], n[1], n[2], n[3], n[4], n[5], i % 2 ? 8 : 0, 1);
            check_forward(&p);
            close_problem(&p);
        }
}

/* Gradients of one element each in float64 and, beside it, what roundings are relative to: `once`, the sum of the
 * terms' absolute values, for p or ds as bf16; `f32`, with do.v and delta as their sums of absolute values, for all
 * that came before. */
typedef struct {
    double value, once, f32;
} bounded;

/* dq, dk and dv [T,3,D] of one sequence of one head, from the o and lse that the layer is given; returns the largest
 * score's sum of absolute values or |lse|, to which the error of an exponent is relative */
static double reference_gradients(bounded *g, const problem *p) {
    attention_shape s = p->s;
    i64 T = s.Tq, D = s.D;
    float *x = compact(BF16, p->qkv, T, s.ldq, 0, 3 * D), *d_o = compact(BF16, p->d_o, T, s.ldo, 0, D);
    float *o = compact(BF16, p->o, T, s.ldo, 0, D);
    double largest = 0, scale = (double)s.scale;
    for (i64 i = 0; i < T; i++)
        for (i64 j = 0; j <= i; j++) {
            const float *q = x + i * 3 * D, *k = x + j * 3 * D + D, *v = k + D, *y = d_o + i * D;
            double score = 0, size = 0, dp = 0, dp_size = 0;
            for (i64 d = 0; d < D; d++) {
                double qk = (double)q[d] * (double)k[d], yv = (double)y[d] * (double)v[d];
                double yo = (double)y[d] * (double)o[i * D + d];
                score += qk, size += fabs(qk), dp += yv - yo, dp_size += fabs(yv) + fabs(yo);
            }
            largest = fmax(largest, fmax(size * scale, fabs((double)p->lse[i])));
            double prob = exp(score * scale - (double)p->lse[i]), ds = prob * dp * scale, f32 = prob * dp_size * scale;
            for (i64 d = 0; d < D; d++) {
                bounded *dq = g + i * 3 * D + d, *dk = g + j * 3 * D + D + d, *dv = dk + D;
                double kd = (double)k[d], qd = (double)q[d], yd = (double)y[d];
                dq->value += ds * kd, dq->once += fabs(ds * kd), dq->f32 += f32 * fabs(kd);
                dk->value += ds * qd, dk->once += fabs(ds * qd), dk->f32 += f32 * fabs(qd);
                dv->value += prob * yd, dv->once += prob * fabs(yd), dv->f32 += prob * fabs(yd);
            }
        }
    free(x), free(d_o), free(o);
    return largest;
}

/* Each element within BF16_ROUNDOFF of the terms that p or ds is rounded in, as much of itself for its own rounding,
 * and in f32: exponents with D + 4 roundings of the score and lse, products of D terms, sums over T, 16 for the rest.
 * */
static void gradients_are_the_reference(void **state) {
    (void)state;
    for (i64 D = 64; D <= 128; D += 32) {
        problem p = open_problem(BF16, 1, 150, 150, 1, 1, D, 0, 1);
        i64 T = p.s.Tq, n = T * 3 * D;
        run_forward(&p);
        run_backward(&p);
        void *d = snapshot(&p, p.c_dqkv, p.n);
        float *got = compact(BF16, d, T, p.s.ldq, 0, 3 * D);
        bounded *g = calloc((size_t)n, sizeof *g);
        double largest = reference_gradients(g, &p);
        double roundings = 2 * (double)(D + 4) * largest + (double)(D + T + 16);
        for (i64 i = 0; i < n; i++) {
            double bound = BF16_ROUNDOFF * g[i].once + roundings * F32_ROUNDOFF * g[i].f32;
            bound += BF16_ROUNDOFF * (fabs(g[i].value) + bound);
            if (!(fabs((double)got[i] - g[i].value) <= bound))
                fail_msg("D %d: element %d of row %d is %.9g, expected %.9g within %.3g", (int)D, (int)(i % (3 * D)),
                         (int)(i / (3 * D)), (double)got[i], g[i].value, bound);
        }
        free(g), free(got), free(d);
        close_problem(&p);
    }
}

/* Scores of some +-300: exp without the maximum would overflow, most probabilities are 0. An f32 score is off by its
 * roundings, D + 4 of 2^-24 times sums of |q||k| of some 1000 at most; a probability by as much relatively. */
static void large_scores_stay_stable(void **state) {
    (void)state;
    for (int t = F32; t <= BF16; t++) {
        problem p = open_problem((dtype)t, 1, 150, 150, 2, 1, 64, 0, 9);
        attention_shape s = p.s;
        double off = tolerance(p.t, s) + 2 * (double)(s.D + 4) * 1000 * F32_ROUNDOFF;
        run_forward(&p);
        check_rows("o", &p, p.c_o, p.no, p.o, s.Tq, s.ldo, 0, s.H * s.D, off);
        run_backward(&p);
        check_rows("dq", &p, p.c_dqkv, p.n, p.dqkv, s.Tq, s.ldq, 0, s.H * s.D, off);
        check_rows("dk", &p, p.c_dqkv, p.n, p.dqkv, s.Tq, s.ldk, p.k_at, s.K * s.D, off);
        check_rows("dv", &p, p.c_dqkv, p.n, p.dqkv, s.Tq, s.ldk, p.v_at, s.K * s.D, off);
        close_problem(&p);
    }
}

static void repeats_case(dtype t, i64 D) {
    problem p = open_problem(t, 1, 150, 150, 4, 2, D, 0, 1);
    run_forward(&p);
    void *o = snapshot(&p, p.c_o, p.no);
    cuda_backward(&p);
    void *d = snapshot(&p, p.c_dqkv, p.n);
    run_forward(&p);
    cuda_backward(&p);
    void *o2 = snapshot(&p, p.c_o, p.no), *d2 = snapshot(&p, p.c_dqkv, p.n);
    assert_memory_equal(o, o2, bytes_of(&p, p.no));
    assert_memory_equal(d, d2, bytes_of(&p, p.n));
    free(o), free(d), free(o2), free(d2);
    close_problem(&p);
}

static void two_runs_give_the_same_bits(void **state) {
    (void)state;
    repeats_case(BF16, 64);
    repeats_case(F32, 24);
}

/* whether row i of head h is all NaN (1), all finite (0), or neither (-1) */
static int nan_row(const problem *p, const void *x, i64 ld, i64 first, i64 i, i64 h) {
    float *row = compact(p->t, tensor_at(x, p->t, i * ld), 1, ld, first + h * p->s.D, p->s.D);
    i64 nans = 0;
    for (i64 d = 0; d < p->s.D; d++) nans += isnan(row[d]) != 0;
    free(row);
    return nans == p->s.D ? 1 : nans ? -1 : 0;
}

static void poison(problem *p, void *cuda, i64 i) {
    static const uint32_t nan[2] = {0x7fc00000, 0x7fc07fc0};
    OK(both.cuda->ops->copy(both.cuda, tensor_at(cuda, p->t, i), &nan[p->t == BF16], dtype_bytes(p->t)));
}

static void nan_stays_in_its_row(void **state) {
    (void)state;
    enum { T = 100, ROW = 70 };
    for (int t = F32; t <= BF16; t++) {
        problem p = open_problem((dtype)t, 1, T, T, 2, 2, 64, 0, 1);
        attention_shape s = p.s;
        poison(&p, p.c_qkv, ROW * s.ldq + 3); /* q of head 0 */
        run_forward(&p);
        cuda_backward(&p);
        void *o = snapshot(&p, p.c_o, p.no), *d = snapshot(&p, p.c_dqkv, p.n);
        float lse[2 * T];
        from_cuda(lse, p.c_lse, sizeof lse);
        for (i64 i = 0; i < T; i++) {
            assert_int_equal(nan_row(&p, o, s.ldo, 0, i, 0), i == ROW);
            assert_int_equal(nan_row(&p, o, s.ldo, 0, i, 1), 0);
            assert_int_equal(isnan(lse[i]) != 0, i == ROW);
            assert_int_equal(nan_row(&p, d, s.ldq, 0, i, 0), i == ROW);
            if (i <= ROW) assert_int_equal(nan_row(&p, d, s.ldk, p.k_at, i, 0), 1);
            assert_int_equal(nan_row(&p, d, s.ldk, p.k_at, i, 1), 0);
        }
        free(o), free(d);
        close_problem(&p);

        p = open_problem((dtype)t, 1, T, T, 2, 2, 64, 0, 1);
        poison(&p, p.c_qkv, ROW * s.ldk + p.k_at + s.D + 5); /* k of head 1 */
        run_forward(&p);
        o = snapshot(&p, p.c_o, p.no);
        for (i64 i = 0; i < T; i++) {
            assert_int_equal(nan_row(&p, o, s.ldo, 0, i, 1), i >= ROW);
            assert_int_equal(nan_row(&p, o, s.ldo, 0, i, 0), 0);
        }
        free(o);
        close_problem(&p);
    }
}

/* Generation, a token at a time: the same rule where the keys are read in pieces. */
static void nan_reaches_what_sees_it(void **state) {
    (void)state;
    problem p = open_problem(BF16, 1, 2, 300, 2, 1, 64, 0, 1);
    attention_shape s = p.s;
    poison(&p, p.c_qkv, p.k_at + 299 * s.ldk); /* of the last key, which only the last query attends to */
    run_forward(&p);
    void *o = snapshot(&p, p.c_o, p.no);
    for (i64 h = 0; h < s.H; h++) {
        assert_int_equal(nan_row(&p, o, s.ldo, 0, 0, h), 0);
        assert_int_equal(nan_row(&p, o, s.ldo, 0, 1, h), 1);
    }
    free(o);
    close_problem(&p);
}

/* more pairs of sequence and query than a grid has along y: another path */
static void few_queries_of_many_sequences(void **state) {
    (void)state;
    problem p = open_problem(F32, 65536 / 8, 8, 9, 1, 1, 1, 0, 1);
    check_forward(&p);
    close_problem(&p);
}

static void more_sequences_or_heads_than_a_grid_has(void **state) {
    (void)state;
    float x[1] = {0};
    const attention_shape fits = {.B = 1, .Tq = 1, .Tk = 1, .H = 1, .K = 1, .D = 1, .ldq = 1, .ldk = 1, .ldo = 1};
    attention_shape B = fits, H = fits, few = fits;
    B.B = few.B = 65536, few.Tk = 2;
    H.H = H.ldq = H.ldo = 65536;
    FAILS(ARG, "B 65536, H 1, expected at most 65535", attention_forward(both.cuda, F32, x, x, x, x, x, B));
    FAILS(ARG, "B 65536, H 1, expected at most 65535", attention_forward(both.cuda, F32, x, x, x, x, x, few));
    FAILS(ARG, "B 1, H 65536, expected at most 65535", attention_forward(both.cuda, F32, x, x, x, x, x, H));
    FAILS(ARG, "B 65536, H 1, expected at most 65535",
          attention_backward(both.cuda, F32, &(attention_gradients){x, x, x, x}, &(attention_tensors){x, x, x, x, x}, x,
                             B));
}

/* 99 KiB a block, as on compute capability 8.6. Only the emulation can be configured so. */
static void heads_too_large_for_shared_memory(void **state) {
    (void)state;
    if (!cuda_emulated()) skip();
    const device_pair before = both;
    setenv("SIMT_SHARED_KIB", "99", 1);
    OK(device_open(&both.cuda, "cuda", 0, 0));
    for (i64 D = 64; D <= 128; D += 32) both_ways(BF16, 1, 40, 2, 1, D, 0);
    both_ways(F32, 1, 40, 1, 1, 128, 0);
    for (int t = F32; t <= BF16; t++) {
        problem p = open_problem((dtype)t, 1, 40, 40, 1, 1, 129, 0, 1);
        FAILS(ARG, "head size 129 takes 104448 bytes of shared memory a block, expected at most the 101376 of",
              attention_forward(both.cuda, p.t, p.c_o, p.c_lse, p.c_qkv, p.c_qkv, p.c_qkv, p.s));
        assert_null(strchr(status_message(), '\n'));
        const attention_tensors x = tensors_of(&p, p.c_qkv, p.c_o, p.c_lse);
        const attention_gradients d = gradients_of(&p, p.c_dqkv, p.c_d_o);
        FAILS(ARG, "head size 129 takes 137728 bytes of shared memory a block, expected at most the 101376 of",
              attention_backward(both.cuda, p.t, &d, &x, p.c_scratch, p.s));
        close_problem(&p);
        p = open_problem((dtype)t, 1, 3, 40, 1, 1, 256, 0, 1); /* few queries have no tiles */
        check_forward(&p);
        close_problem(&p);
    }
    device_close(both.cuda);
    unsetenv("SIMT_SHARED_KIB");
    both = before;
}

static void counts_what_the_cpu_counts(void **state) {
    (void)state;
    problem p = open_problem(BF16, 2, 40, 40, 4, 2, 64, 0, 1);
    memset(&both.cpu->flops, 0, sizeof both.cpu->flops);
    memset(&both.cuda->flops, 0, sizeof both.cuda->flops);
    run_forward(&p);
    run_backward(&p);
    assert_memory_equal(&both.cpu->flops, &both.cuda->flops, sizeof both.cpu->flops);
    assert_int_equal(attention_backward_scratch_bytes(both.cuda, p.s), 2 * 4 * 128 * 8);
    close_problem(&p);
}

int main(void) {
    NEEDS_CUDA("test_cuda_attention");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensor_cores_are_the_cpu),
        cmocka_unit_test(general_is_the_cpu),
        cmocka_unit_test(generation_is_the_cpu),
        cmocka_unit_test(gradients_are_the_reference),
        cmocka_unit_test(large_scores_stay_stable),
        cmocka_unit_test(two_runs_give_the_same_bits),
        cmocka_unit_test(nan_stays_in_its_row),
        cmocka_unit_test(nan_reaches_what_sees_it),
        cmocka_unit_test(few_queries_of_many_sequences),
        cmocka_unit_test(more_sequences_or_heads_than_a_grid_has),
        cmocka_unit_test(heads_too_large_for_shared_memory),
        cmocka_unit_test(counts_what_the_cpu_counts),
    };
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
