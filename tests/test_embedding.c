#include "layers/embedding.h"

#include "tests/starts.h"

typedef struct {
    i64 B, T, C, V, positions;
    i64 document; /* starts of documents of some such length; 0: none */
} shape;

static int32_t *starts_of(shape s) { return s.document ? starts_draw(s.B, s.T, s.document) : NULL; }

static embedding embedding_of(shape s) { return (embedding){.C = s.C, .V = s.V, .positions = s.positions}; }

/* forward is one addition rounded once, backward f32 additions in a stated order: both are compared bit by bit */
static void check_forward(dtype t, shape s, bool with_positions, i64 first, int threads) {
    i64 N = s.B * s.T, C = s.C;
    size_t e = dtype_bytes(t);
    void *wte = malloc((size_t)(s.V * C) * e), *wpe = malloc((size_t)(s.positions * C) * e + 1);
    void *x = malloc((size_t)(N * C) * e);
    int32_t *tokens = malloc((size_t)N * 4), *starts = starts_of(s);
    const token_batch b = {.tokens = tokens, .B = s.B, .T = s.T, .starts = starts};
    random_tensor(wte, NULL, t, s.V * C, 1, 1);
    if (s.positions) random_tensor(wpe, NULL, t, s.positions * C, 1, 2);
    for (i64 n = 0; n < N; n++) tokens[n] = (int32_t)rng_below(5, 1, (uint64_t)n, (uint64_t)s.V);
    device *dev;
    OK(device_open(&dev, "cpu", threads, 0));
    embedding table = embedding_of(s);
    table.wte = wte, table.wpe = with_positions ? wpe : NULL;
    OK(embedding_forward(dev, t, x, b, &table, first));
    device_close(dev);
    for (i64 n = 0; n < N; n++)
        for (i64 c = 0; c < C; c++) {
            float a, p = 0;
            widen(&a, tensor_at(wte, t, tokens[n] * C + c), t, 1);
            if (with_positions)
                widen(&p, tensor_at(wpe, t, (first + n % s.T - (starts ? starts[n] : 0)) * C + c), t, 1);
            if (t == F32) assert_true(((float *)x)[n * C + c] == a + p);
            else assert_int_equal(((bf16 *)x)[n * C + c], bf16_from_f32(a + p));
        }
    free(wte), free(wpe), free(x), free(tokens), free(starts);
}

static void check_backward(dtype t, shape s, bool with_positions, bool accumulate, int threads) {
    i64 N = s.B * s.T, C = s.C, size_wte = s.V * C, size_wpe = s.positions * C;
    void *dx = malloc((size_t)(N * C) * dtype_bytes(t));
    float *wide = malloc((size_t)(N * C) * 4), *dwte = malloc((size_t)size_wte * 4),
          *want_wte = malloc((size_t)size_wte * 4);
    float *dwpe = malloc((size_t)size_wpe * 4 + 1), *want_wpe = malloc((size_t)size_wpe * 4 + 1);
    int32_t *tokens = malloc((size_t)N * 4), *starts = starts_of(s);
    const token_batch b = {.tokens = tokens, .B = s.B, .T = s.T, .starts = starts};
    random_tensor(dx, NULL, t, N * C, 1, 3);
    widen(wide, dx, t, N * C);
    for (i64 n = 0; n < N; n++) tokens[n] = (int32_t)rng_below(5, 1, (uint64_t)n, (uint64_t)s.V);
    /* the position table gets the other value of the flag */
    for (i64 i = 0; i < size_wte; i++) dwte[i] = accumulate ? 0.5f : NAN, want_wte[i] = accumulate ? 0.5f : 0;
    for (i64 i = 0; i < size_wpe; i++) dwpe[i] = accumulate ? NAN : 0.25f, want_wpe[i] = accumulate ? 0 : 0.25f;
    for (i64 n = 0; n < N; n++)
        for (i64 c = 0; c < C; c++) {
            want_wte[tokens[n] * C + c] += wide[n * C + c];
            if (with_positions) want_wpe[(n % s.T - (starts ? starts[n] : 0)) * C + c] += wide[n * C + c];
        }
    device *dev;
    OK(device_open(&dev, "cpu", threads, 0));
    embedding table = embedding_of(s);
    table.dwte = dwte, table.dwpe = with_positions ? dwpe : NULL;
    table.accumulate_wte = accumulate, table.accumulate_wpe = !accumulate;
    OK(embedding_backward(dev, t, dx, b, &table));
    device_close(dev);
    assert_memory_equal(dwte, want_wte, (size_t)size_wte * 4);
    if (with_positions) assert_memory_equal(dwpe, want_wpe, (size_t)size_wpe * 4);
    free(dx), free(wide), free(dwte), free(want_wte), free(dwpe), free(want_wpe), free(tokens), free(starts);
}

static const shape shapes[] = {
    {.B = 1, .T = 1, .C = 1, .V = 1, .positions = 1},
    {.B = 3, .T = 5, .C = 33, .V = 4, .positions = 9}, /* few tokens: every row gets many sums */
    {.B = 2, .T = 16, .C = 768, .V = 100, .positions = 16},
    {.B = 1, .T = 4, .C = 2500, .V = 7, .positions = 4},
    {.B = 2, .T = 3, .C = 20, .V = 5, .positions = 0},
    {.B = 3, .T = 40, .C = 33, .V = 9, .positions = 45, .document = 8},
};

static void test_bitwise(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (dtype t = F32; t <= BF16; t++)
            for (int threads = 1; threads <= 3; threads += 2) {
                shape s = shapes[i];
                check_forward(t, s, false, 0, threads);
                check_backward(t, s, false, true, threads);
                if (s.positions == 0) continue;
                check_forward(t, s, true, s.document ? 0 : s.positions - s.T, threads);
                check_backward(t, s, true, false, threads);
                check_backward(t, s, true, true, threads);
            }
}

static void test_bad_arguments(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    float x[16] = {0}, w[16] = {0};
    int32_t tokens[2] = {0, 4};
    const token_batch b = {.tokens = tokens, .B = 1, .T = 2};
    embedding e = {.wte = w, .dwte = w, .C = 4, .V = 4, .positions = 2};
    FAILS(DATA, "token 4 at 1, expected 0 to 3", embedding_forward(dev, F32, x, b, &e, 0));
    tokens[1] = -1;
    FAILS(DATA, "token -1 at 1", embedding_backward(dev, F32, x, b, &e));
    tokens[1] = 0;
    e.wpe = w, e.dwpe = w;
    FAILS(ARG, "positions 1 to 3", embedding_forward(dev, F32, x, b, &e, 1));
    e.positions = 1;
    FAILS(ARG, "positions 0 to 2", embedding_backward(dev, F32, x, b, &e));
    e.wpe = NULL, e.C = 0;
    FAILS(ARG, "C 0", embedding_forward(dev, F32, x, b, &e, 0));
    device_close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bitwise),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
