#include "layers/embedding.h"
#include "tests/starts.h"
#include "tests/tensor_pair.h"

typedef struct {
    i64 B, T, C, V, positions;
    i64 document; /* starts of documents of some such length; 0: none */
} shape;

/* the parameters or the gradients of one device are the caller's */
static embedding embedding_of(shape s) { return (embedding){.C = s.C, .V = s.V, .positions = s.positions}; }
static token_batch batch_of(const void *tokens, const void *starts, shape s) {
    return (token_batch){.tokens = tokens, .B = s.B, .T = s.T, .starts = s.document ? starts : NULL};
}

typedef struct {
    shape s;
    i64 spread, offset; /* tokens are drawn from [0, spread); every 5th is 0, where `often` */
    bool often;
} embedding_case;

static tensor_pair tokens_of(const embedding_case *c) {
    i64 N = c->s.B * c->s.T;
    tensor_pair w = tensor_pair_open(F32, N, 0, 0, 0); /* 4 bytes each as well */
    int32_t *tokens = w.host;
    for (i64 n = 0; n < N; n++)
        tokens[n] = c->often && n % 5 == 2 ? 0 : (int32_t)rng_below(5, 1, (uint64_t)n, (uint64_t)c->spread);
    tensor_pair_upload(&w);
    return w;
}

static tensor_pair starts_of(const embedding_case *c) {
    i64 N = c->s.B * c->s.T;
    tensor_pair w = tensor_pair_open(F32, N, 0, 0, 0);
    int32_t *starts = starts_draw(c->s.B, c->s.T, c->s.document ? c->s.document : 1);
    memcpy(w.host, starts, (size_t)N * 4);
    free(starts);
    tensor_pair_upload(&w);
    return w;
}

/* one addition, rounded once: the same bits */
static void forward_case(dtype t, const embedding_case *c, bool learned, i64 first) {
    shape s = c->s;
    tensor_pair tokens = tokens_of(c), starts = starts_of(c), wte = tensor_pair_open(t, s.V * s.C, c->offset, 1, 1);
    tensor_pair wpe = tensor_pair_open(t, s.positions * s.C, c->offset, 1, 2),
                x = tensor_pair_open(t, s.B * s.T * s.C, c->offset, 0, 0);
    embedding e = embedding_of(s);
    e.wte = wte.host, e.wpe = learned ? wpe.host : NULL;
    OK(embedding_forward(both.cpu, t, x.host, batch_of(tokens.host, starts.host, s), &e, first));
    e.wte = wte.cuda, e.wpe = learned ? wpe.cuda : NULL;
    OK(embedding_forward(both.cuda, t, x.cuda, batch_of(tokens.cuda, starts.cuda, s), &e, first));
    void *got = tensor_pair_download(&x);
    assert_memory_equal(got, x.host, (size_t)x.n * dtype_bytes(t));
    free(got);
    tensor_pair_close(&tokens), tensor_pair_close(&starts), tensor_pair_close(&wte), tensor_pair_close(&wpe),
        tensor_pair_close(&x);
}

static void backward_case(dtype t, const embedding_case *c, bool accumulate_wte, bool accumulate_wpe) {
    shape s = c->s;
    tensor_pair tokens = tokens_of(c), starts = starts_of(c),
                dx = tensor_pair_open(t, s.B * s.T * s.C, c->offset, 1, 3);
    tensor_pair dwte = tensor_pair_open(F32, s.V * s.C, c->offset, accumulate_wte ? 1 : 0, 4);
    tensor_pair dwpe = tensor_pair_open(F32, s.positions * s.C, c->offset, accumulate_wpe ? 1 : 0, 5);
    bool learned = s.positions > 0;
    void *first[2];
    embedding e = embedding_of(s);
    e.accumulate_wte = accumulate_wte, e.accumulate_wpe = accumulate_wpe;
    e.dwte = dwte.host, e.dwpe = learned ? dwpe.host : NULL;
    OK(embedding_backward(both.cpu, t, dx.host, batch_of(tokens.host, starts.host, s), &e));
    for (int k = 0; k < 2; k++) {
        tensor_pair a = tensor_pair_open(F32, dwte.n, c->offset, accumulate_wte ? 1 : 0, 4);
        tensor_pair b = tensor_pair_open(F32, dwpe.n, c->offset, accumulate_wpe ? 1 : 0, 5);
        e.dwte = a.cuda, e.dwpe = learned ? b.cuda : NULL;
        OK(embedding_backward(both.cuda, t, dx.cuda, batch_of(tokens.cuda, starts.cuda, s), &e));
        /* f32 sums of at most N rows of both signs; each addition rounds what is there so far, once on either side */
        double tolerance = 2 * sqrt((double)(s.B * s.T + 1)) * F32_ROUNDOFF;
        check_same("dwte", F32, a.cuda, dwte.host, dwte.n, tolerance);
        if (learned) check_same("dwpe", F32, b.cuda, dwpe.host, dwpe.n, tolerance);
        void *got = tensor_pair_download(&a);
        first[k] = got;
        tensor_pair_close(&a), tensor_pair_close(&b);
    }
    assert_memory_equal(first[0], first[1], (size_t)dwte.n * 4);
    free(first[0]), free(first[1]);
    tensor_pair_close(&tokens), tensor_pair_close(&starts), tensor_pair_close(&dx), tensor_pair_close(&dwte),
        tensor_pair_close(&dwpe);
}

static const embedding_case cases[] = {
    {.s = {.B = 1, .T = 1, .C = 1, .V = 1, .positions = 1}, .spread = 1},
    {.s = {.B = 3, .T = 5, .C = 33, .V = 9, .positions = 9}, .spread = 4}, /* rows that never occur, and often */
    {.s = {.B = 2, .T = 300, .C = 24, .V = 61, .positions = 300}, .spread = 40, .often = true}, /* several blocks */
    {.s = {.B = 2, .T = 16, .C = 768, .V = 100, .positions = 20}, .spread = 100},
    {.s = {.B = 1, .T = 20, .C = 2504, .V = 7, .positions = 0}, .spread = 7, .often = true}, /* several sweeps */
    {.s = {.B = 2, .T = 3, .C = 20, .V = 700, .positions = 0}, .spread = 700},
    {.s = {.B = 2, .T = 50, .C = 64, .V = 5, .positions = 50}, .spread = 5, .offset = 1},
    {.s = {.B = 3, .T = 120, .C = 24, .V = 61, .positions = 130, .document = 20}, .spread = 40},
    {.s = {.B = 2, .T = 70, .C = 7, .V = 61, .positions = 70, .document = 4}, .spread = 40, .offset = 1},
};

static void embedding_is_the_cpus(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (dtype t = F32; t <= BF16; t++) {
            i64 room = cases[i].s.positions - cases[i].s.T;
            forward_case(t, &cases[i], false, 0);
            if (room >= 0) forward_case(t, &cases[i], true, room);
            for (int flags = 0; flags < 4; flags++) backward_case(t, &cases[i], flags % 2, flags / 2);
        }
}

static void tokens_out_of_range_touch_nothing(void **state) {
    (void)state;
    enum { N = 5, C = 8, V = 3 };
    const int32_t tokens[N] = {1, V, -1, INT32_MAX, 1};
    shape s = {.B = 1, .T = N, .C = C, .V = V};
    float ones[N * C], x[N * C], d[V * C];
    for (int i = 0; i < N * C; i++) ones[i] = 1;
    void *ct = to_cuda(tokens, sizeof tokens), *cx = cuda_unwritten(sizeof x);
    void *cw = to_cuda(ones, sizeof d), *cdx = to_cuda(ones, sizeof ones), *cd = cuda_unwritten(sizeof d);
    embedding e = embedding_of(s);
    e.wte = cw, e.dwte = cd;
    OK(embedding_forward(both.cuda, F32, cx, batch_of(ct, NULL, s), &e, 0));
    from_cuda(x, cx, sizeof x);
    for (int n = 0; n < N; n++)
        assert_true(tokens[n] == 1 ? x[n * C] == 1 : isnan(x[n * C]) && isnan(x[n * C + C - 1]));
    OK(embedding_backward(both.cuda, F32, cdx, batch_of(ct, NULL, s), &e));
    from_cuda(d, cd, sizeof d);
    for (int i = 0; i < V * C; i++) assert_true(d[i] == (i / C == 1 ? 2 : 0));
    cuda_release(ct, sizeof tokens), cuda_release(cx, sizeof x), cuda_release(cw, sizeof d);
    cuda_release(cdx, sizeof ones), cuda_release(cd, sizeof d);
}

int main(void) {
    NEEDS_CUDA("test_cuda_embedding");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedding_is_the_cpus),
        cmocka_unit_test(tokens_out_of_range_touch_nothing),
    };
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
