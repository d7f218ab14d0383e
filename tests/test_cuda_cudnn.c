#include "layers/attention.h"
#include "tests/cuda_pair.h"

/* first line of every test: a GPU, and a build with cuDNN */
#define NEEDS_CUDNN()                                                                                                  \
    do {                                                                                                               \
        if (attention_choose(both.cuda, ATTENTION_CUDNN) == STATUS_ARG) {                                              \
            print_message("# skipped: %s\n", status_message());                                                        \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* Roundings to bf16 between the two: p (or ds) as an operand and the result, of either, and with groups each query
 * head's dk and dv before cuDNN adds them; 1 for all of f32. lse as in test_cuda_attention.c. */
static const double bf16_tolerance = 6 * BF16_ROUNDOFF;
static double lse_tolerance(attention_shape s) { return (double)(s.D + s.Tk + 16) * F32_ROUNDOFF; }

enum { O, D_O, QKV, DQKV, BUFFERS }; /* bf16; q, k and v in the same rows, as the model has them */

typedef struct {
    attention_shape s;
    i64 k, v; /* their offsets in a row, in elements */
    size_t bytes[BUFFERS], lse_bytes, scratch_bytes;
    void *x[BUFFERS], *scratch;
    float *lse;
} problem;

static problem open_problem(i64 B, i64 T, i64 H, i64 K, i64 D, i64 gap) {
    i64 ldq = (H + 2 * K) * D + gap, ldo = H * D + gap;
    attention_shape shape = {.B = B,
                             .Tq = T,
                             .Tk = T,
                             .H = H,
                             .K = K,
                             .D = D,
                             .ldq = ldq,
                             .ldk = ldq,
                             .ldo = ldo,
                             .scale = (float)(1 / sqrt((double)D))};
    problem p = {.s = shape, .k = H * D, .v = (H + K) * D};
    p.bytes[O] = p.bytes[D_O] = (size_t)(B * T * ldo) * 2;
    p.bytes[QKV] = p.bytes[DQKV] = (size_t)(B * T * ldq) * 2;
    p.lse_bytes = (size_t)(B * H * T) * 4;
    p.scratch_bytes = attention_backward_scratch_bytes(both.cuda, p.s);
    for (int i = 0; i < BUFFERS; i++) {
        bool given = i == D_O || i == QKV;
        bf16 *host = malloc(p.bytes[i]);
        if (given) random_tensor(host, NULL, BF16, (i64)p.bytes[i] / 2, 1, (uint64_t)i);
        p.x[i] = given ? to_cuda(host, p.bytes[i]) : cuda_unwritten(p.bytes[i]);
        free(host);
    }
    p.lse = cuda_unwritten(p.lse_bytes);
    p.scratch = cuda_unwritten(p.scratch_bytes);
    return p;
}

static void close_problem(problem *p) {
    for (int i = 0; i < BUFFERS; i++) cuda_release(p->x[i], p->bytes[i]);
    cuda_release(p->lse, p->lse_bytes), cuda_release(p->scratch, p->scratch_bytes);
}

static void forward(problem *p, attention_kind kind) {
    OK(attention_choose(both.cuda, kind));
    OK(attention_forward(both.cuda, BF16, p->x[O], p->lse, p->x[QKV], tensor_at(p->x[QKV], BF16, p->k),
                         tensor_at(p->x[QKV], BF16, p->v), p->s));
}

static void backward(problem *p, attention_kind kind) {
    void *d = p->x[DQKV], *x = p->x[QKV];
    OK(attention_choose(both.cuda, kind));
    const attention_tensors from = {
        .q = x, .k = tensor_at(x, BF16, p->k), .v = tensor_at(x, BF16, p->v), .o = p->x[O], .lse = p->lse};
    const attention_gradients to = {
        .dq = d, .dk = tensor_at(d, BF16, p->k), .dv = tensor_at(d, BF16, p->v), .d_o = p->x[D_O]};
    OK(attention_backward(both.cuda, BF16, &to, &from, p->scratch, p->s));
}

/* returns the buffer's content and fills it with NaN again */
static void *take(void *cuda, size_t bytes) {
    void *copy = malloc(bytes), *nan = malloc(bytes);
    from_cuda(copy, cuda, bytes);
    memset(nan, 0xff, bytes);
    OK(both.cuda->ops->copy(both.cuda, cuda, nan, bytes));
    free(nan);
    return copy;
}

/* elements [first, first + width) of rows; between the rows nothing is written */
static void check_rows(const char *what, const problem *p, const void *got, const void *expected, i64 ld, i64 first,
                       i64 width) {
    i64 rows = p->s.B * p->s.Tq;
    float *x = malloc((size_t)(rows * width) * 4), *y = malloc((size_t)width * 4);
    double *wide = malloc((size_t)(rows * width) * 8);
    for (i64 i = 0; i < rows; i++) {
        widen(x + i * width, tensor_at(got, BF16, i * ld + first), BF16, width);
        widen(y, tensor_at(expected, BF16, i * ld + first), BF16, width);
        for (i64 j = 0; j < width; j++) wide[i * width + j] = (double)y[j];
    }
    double d = relative_l2(x, wide, rows * width);
    if (!(d <= bf16_tolerance))
        fail_msg("%s, B %d T %d H %d K %d D %d: relative distance %.3g, tolerance %.3g", what, (int)p->s.B,
                 (int)p->s.Tq, (int)p->s.H, (int)p->s.K, (int)p->s.D, d, bf16_tolerance);
    free(wide), free(y), free(x);
}

static void check_gap(const problem *p, const void *x, i64 ld, i64 used) {
    for (i64 i = 0; i < p->s.B * p->s.Tq; i++)
        for (i64 j = used; j < ld; j++) assert_int_equal(((const bf16 *)x)[i * ld + j], 0xffff);
}

/* the backward of both from our o and lse, so that only the backward differs */
static void compare(i64 B, i64 T, i64 H, i64 K, i64 D, i64 gap) {
    problem p = open_problem(B, T, H, K, D, gap);
    attention_shape s = p.s;
    forward(&p, ATTENTION_CUDNN);
    void *o = take(p.x[O], p.bytes[O]);
    float *lse = take(p.lse, p.lse_bytes);
    forward(&p, ATTENTION_OWN);
    backward(&p, ATTENTION_CUDNN);
    void *d = take(p.x[DQKV], p.bytes[DQKV]);
    backward(&p, ATTENTION_OWN);
    void *own_d = take(p.x[DQKV], p.bytes[DQKV]), *own_o = take(p.x[O], p.bytes[O]);
    check_same("lse", F32, p.lse, lse, B * H * T, lse_tolerance(s));
    check_rows("o", &p, o, own_o, s.ldo, 0, H * D);
    check_rows("dq", &p, d, own_d, s.ldq, 0, H * D);
    check_rows("dk", &p, d, own_d, s.ldk, p.k, K * D);
    check_rows("dv", &p, d, own_d, s.ldk, p.v, K * D);
    check_gap(&p, o, s.ldo, H * D);
    check_gap(&p, d, s.ldq, p.v + K * D);
    free(o), free(lse), free(d), free(own_d), free(own_o);
    close_problem(&p);
}

static void cudnn_is_our_own(void **state) {
    (void)state;
    NEEDS_CUDNN();
    for (i64 D = 64; D <= 128; D += 64)
        for (i64 group = 1; group <= 4; group += 3) {
            compare(2, 100, 4, 4 / group, D, 0);
            compare(1, 256, 4, 4 / group, D, 8);
        }
    compare(1, 100, 2, 1, 24, 0); /* our own: the general path, in f32 */
}

/* the second run uses the plans of the first */
static void two_runs_give_the_same_bits(void **state) {
    (void)state;
    NEEDS_CUDNN();
    problem p = open_problem(2, 256, 4, 1, 64, 0);
    void *o[2], *lse[2], *d[2];
    size_t held[2];
    for (int i = 0; i < 2; i++) {
        forward(&p, ATTENTION_CUDNN);
        backward(&p, ATTENTION_CUDNN);
        d[i] = take(p.x[DQKV], p.bytes[DQKV]);
        o[i] = take(p.x[O], p.bytes[O]);
        lse[i] = take(p.lse, p.lse_bytes);
        held[i] = attention_memory_bytes(both.cuda);
    }
    assert_memory_equal(o[0], o[1], p.bytes[O]);
    assert_memory_equal(lse[0], lse[1], p.lse_bytes);
    assert_memory_equal(d[0], d[1], p.bytes[DQKV]);
    assert_int_equal(held[0], held[1]);
    for (int i = 0; i < 2; i++) free(o[i]), free(lse[i]), free(d[i]);
    close_problem(&p);
}

/* our own kernel must not replace it */
static void what_cudnn_does_not_take_is_an_error(void **state) {
    (void)state;
    NEEDS_CUDNN();
    static const i64 refused[][2] = {{20, 64}, {136, 64}, {64, 1}}; /* D, T */
    for (int i = 0; i < 3; i++) {
        problem p = open_problem(1, refused[i][1], 2, 2, refused[i][0], 0);
        void *x = p.x[QKV];
        FAILS(ARG, "--attention cudnn",
              attention_forward(both.cuda, BF16, p.x[O], p.lse, x, tensor_at(x, BF16, p.k), tensor_at(x, BF16, p.v),
                                p.s));
        close_problem(&p);
    }
}

static void windows_and_documents_are_an_error(void **state) {
    (void)state;
    NEEDS_CUDNN();
    problem p = open_problem(1, 64, 2, 2, 64, 0);
    void *x = p.x[QKV];
    for (int i = 0; i < 2; i++) {
        attention_shape s = p.s;
        if (i) s.starts = p.x[QKV]; /* refused before it is read */
        else s.window = 9;
        FAILS(
            ARG, i ? "documents that are masked" : "sliding window",
            attention_forward(both.cuda, BF16, p.x[O], p.lse, x, tensor_at(x, BF16, p.k), tensor_at(x, BF16, p.v), s));
    }
    close_problem(&p);
}

static void a_device_without_it_says_so(void **state) {
    (void)state;
    FAILS(ARG, "--attention cudnn", attention_choose(both.cpu, ATTENTION_CUDNN));
    OK(attention_choose(both.cpu, ATTENTION_OWN));
    if (attention_choose(both.cuda, ATTENTION_CUDNN) == STATUS_OK) skip();
    FAILS(ARG, "--attention cudnn", attention_choose(both.cuda, ATTENTION_CUDNN));
}

static int back_to_our_own(void **state) {
    (void)state;
    if (both.cuda) OK(attention_choose(both.cuda, ATTENTION_OWN));
    return 0;
}

int main(void) {
    NEEDS_CUDA("test_cuda_cudnn");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(cudnn_is_our_own, back_to_our_own),
        cmocka_unit_test_teardown(two_runs_give_the_same_bits, back_to_our_own),
        cmocka_unit_test_teardown(what_cudnn_does_not_take_is_an_error, back_to_our_own),
        cmocka_unit_test_teardown(windows_and_documents_are_an_error, back_to_our_own),
        cmocka_unit_test_teardown(a_device_without_it_says_so, back_to_our_own),
    };
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
