/* Problems for the tests of attention on CUDA against the CPU. */
#ifndef TALLY_CUDA_ATTENTION_H
#define TALLY_CUDA_ATTENTION_H

#include "layers/attention.h"
#include "tests/cuda_pair.h"

/* A GEMM on the GPU is only assumed to sum in f32. Roundings between the two halves:
 *   f32: scores of D terms, exponents of that error, sums over T keys: D + T, and 16 for exp, scale, delta and the last
 *     division
 *   bf16: p (or ds) as an operand of the next product, and the result on either side: 3, and 1 for all of f32 */
static inline double tolerance(dtype t, attention_shape s) {
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
    int32_t *starts; /* of s, and on the GPU; or NULL */
    void *c_starts;
} problem;

static inline size_t bytes_of(const problem *p, i64 n) { return (size_t)n * dtype_bytes(p->t); }
static inline i64 lse_count(const problem *p) { return p->s.B * p->s.H * p->s.Tq; }

static inline void *cuda_copy(const problem *p, const void *x, i64 n) { return to_cuda(x, bytes_of(p, n)); }

/* what s.starts is on the GPU */
static inline attention_shape cuda_shape(const problem *p) {
    attention_shape s = p->s;
    s.starts = p->c_starts;
    return s;
}

/* n: B, Tq, Tk, H, K, D; gap: elements between rows */
static inline problem open_shape(dtype t, const i64 n[6], i64 gap, float std) {
    i64 B = n[0], Tq = n[1], Tk = n[2], H = n[3], K = n[4], D = n[5];
    problem p = {.t = t,
                 .s = {.B = B,
                       .Tq = Tq,
                       .Tk = Tk,
                       .H = H,
                       .K = K,
                       .D = D,
                       .ldo = H * D + gap,
                       .scale = (float)(1 / sqrt((double)D))}};
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

static inline void close_problem(problem *p) {
    if (p->starts) cuda_release(p->c_starts, (size_t)(p->s.B * p->s.Tq) * 4);
    free(p->starts);
    free(p->qkv), free(p->o), free(p->d_o), free(p->dqkv), free(p->lse), free(p->scratch);
    cuda_release(p->c_qkv, bytes_of(p, p->n)), cuda_release(p->c_o, bytes_of(p, p->no));
    cuda_release(p->c_d_o, bytes_of(p, p->no)), cuda_release(p->c_dqkv, bytes_of(p, p->n));
    cuda_release(p->c_lse, (size_t)lse_count(p) * 4);
    cuda_release(p->c_scratch, attention_backward_scratch_bytes(both.cuda, p->s));
}

static inline void run_forward(problem *p) {
    dtype t = p->t;
    OK(attention_forward(both.cpu, t, p->o, p->lse, p->qkv, tensor_at(p->qkv, t, p->k_at),
                         tensor_at(p->qkv, t, p->v_at), p->s));
    OK(attention_forward(both.cuda, t, p->c_o, p->c_lse, p->c_qkv, tensor_at(p->c_qkv, t, p->k_at),
                         tensor_at(p->c_qkv, t, p->v_at), cuda_shape(p)));
}

/* q, k and v, and their gradients, of rows that hold all three */
static inline attention_tensors tensors_of(const problem *p, const void *qkv, const void *o, const float *lse) {
    return (attention_tensors){
        .q = qkv, .k = tensor_at(qkv, p->t, p->k_at), .v = tensor_at(qkv, p->t, p->v_at), .o = o, .lse = lse};
}

static inline attention_gradients gradients_of(const problem *p, void *dqkv, const void *d_o) {
    return (attention_gradients){
        .dq = dqkv, .dk = tensor_at(dqkv, p->t, p->k_at), .dv = tensor_at(dqkv, p->t, p->v_at), .d_o = d_o};
}

static inline void cuda_backward(problem *p) {
    const attention_tensors x = tensors_of(p, p->c_qkv, p->c_o, p->c_lse);
    const attention_gradients d = gradients_of(p, p->c_dqkv, p->c_d_o);
    OK(attention_backward(both.cuda, p->t, &d, &x, p->c_scratch, cuda_shape(p)));
}

/* both from the CPU's o and lse, so that only the backward differs */
static inline void run_backward(problem *p) {
    OK(both.cuda->ops->copy(both.cuda, p->c_o, p->o, bytes_of(p, p->no)));
    OK(both.cuda->ops->copy(both.cuda, p->c_lse, p->lse, (size_t)lse_count(p) * 4));
    const attention_tensors x = tensors_of(p, p->qkv, p->o, p->lse);
    const attention_gradients d = gradients_of(p, p->dqkv, p->d_o);
    OK(attention_backward(both.cpu, p->t, &d, &x, p->scratch, p->s));
    cuda_backward(p);
}

/* `width` elements from `first` of rows, compact, in f32 */
static inline float *compact(dtype t, const void *x, i64 rows, i64 ld, i64 first, i64 width) {
    float *y = malloc((size_t)(rows * width) * 4);
    for (i64 i = 0; i < rows; i++) widen(y + i * width, tensor_at(x, t, i * ld + first), t, width);
    return y;
}

static inline void *snapshot(const problem *p, const void *cuda, i64 n) {
    void *copy = malloc(bytes_of(p, n));
    from_cuda(copy, cuda, bytes_of(p, n));
    return copy;
}

/* `width` elements from `first` of rows with stride ld */
typedef struct {
    i64 rows, ld, first, width;
} part;

static inline void check_rows(const char *what, const problem *p, const void *cuda, i64 n, const void *cpu, part x,
                              double limit) {
    i64 count = x.rows * x.width;
    void *copy = snapshot(p, cuda, n);
    float *got = compact(p->t, copy, x.rows, x.ld, x.first, x.width),
          *expected = compact(p->t, cpu, x.rows, x.ld, x.first, x.width);
    double *wide = malloc((size_t)count * 8);
    for (i64 i = 0; i < count; i++) wide[i] = (double)expected[i];
    double d = relative_l2(got, wide, count);
    if (!(d <= limit))
        fail_msg("%s %s T %d,%d H %d K %d D %d: relative distance %.3g, tolerance %.3g", what, dtype_name(p->t),
                 (int)p->s.Tq, (int)p->s.Tk, (int)p->s.H, (int)p->s.K, (int)p->s.D, d, limit);
    free(wide), free(expected), free(got), free(copy);
}

/* the gaps between rows must still be NaN */
static inline void check_gap(const problem *p, const void *cuda, i64 n, i64 rows, i64 ld, i64 used) {
    void *copy = snapshot(p, cuda, n);
    float *gap = compact(p->t, copy, rows, ld, used, ld - used);
    for (i64 i = 0; i < rows * (ld - used); i++) assert_true(isnan(gap[i]));
    free(gap), free(copy);
}

static inline void check_forward(problem *p) {
    attention_shape s = p->s;
    run_forward(p);
    check_rows("o", p, p->c_o, p->no, p->o, (part){s.B * s.Tq, s.ldo, 0, s.H * s.D}, tolerance(p->t, s));
    check_gap(p, p->c_o, p->no, s.B * s.Tq, s.ldo, s.H * s.D);
    check_same("lse", F32, p->c_lse, p->lse, lse_count(p), tolerance(F32, s));
}

static inline void check_backward(problem *p) {
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
    check_rows("dq", p, p->c_dqkv, p->n, p->dqkv, (part){rows, s.ldq, 0, s.H * s.D}, limit);
    check_rows("dk", p, p->c_dqkv, p->n, p->dqkv, (part){rows, s.ldk, p->k_at, s.K * s.D}, limit);
    check_rows("dv", p, p->c_dqkv, p->n, p->dqkv, (part){rows, s.ldk, p->v_at, s.K * s.D}, tolerance(p->t, s));
    check_gap(p, p->c_dqkv, p->n, rows, s.ldq, (s.H + 2 * s.K) * s.D);
}

#endif
