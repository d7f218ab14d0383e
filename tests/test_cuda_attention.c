#include "tests/cuda_attention.h"

static problem open_problem(dtype t, i64 B, i64 Tq, i64 Tk, i64 H, i64 K, i64 D, i64 gap, float std) {
    return open_shape(t, (const i64[]){B, Tq, Tk, H, K, D}, gap, std);
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
        check_rows("o", &p, p.c_o, p.no, p.o, (part){s.Tq, s.ldo, 0, s.H * s.D}, off);
        run_backward(&p);
        check_rows("dq", &p, p.c_dqkv, p.n, p.dqkv, (part){s.Tq, s.ldq, 0, s.H * s.D}, off);
        check_rows("dk", &p, p.c_dqkv, p.n, p.dqkv, (part){s.Tq, s.ldk, p.k_at, s.K * s.D}, off);
        check_rows("dv", &p, p.c_dqkv, p.n, p.dqkv, (part){s.Tq, s.ldk, p.v_at, s.K * s.D}, off);
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
