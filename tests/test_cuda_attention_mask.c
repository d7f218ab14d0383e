/* Attention with a window and with documents on every path of CUDA. */
#include "tests/cuda_attention.h"
#include "tests/starts.h"

static problem open_masked(dtype t, const i64 n[6], i64 gap, i64 window, i64 document) {
    problem p = open_shape(t, n, gap, 1);
    p.s.window = window;
    if (!document) return p;
    p.s.starts = p.starts = starts_draw(n[0], n[1], document);
    p.c_starts = to_cuda(p.starts, (size_t)(n[0] * n[1]) * 4);
    p.s.pairs = (i64)attention_pairs(n[0], n[1], window, p.starts);
    return p;
}

static void both_ways(dtype t, i64 B, i64 T, i64 H, i64 K, i64 D, i64 window, i64 document) {
    problem p = open_masked(t, (const i64[]){B, T, T, H, K, D}, 8, window, document);
    check_forward(&p);
    check_backward(&p);
    close_problem(&p);
}

static void tensor_cores_are_the_cpu(void **state) {
    (void)state;
    static const i64 sizes[] = {64, 96, 128};
    for (int i = 0; i < 3; i++) {
        both_ways(BF16, 1, 300, 2, 1, sizes[i], 70, 0);
        both_ways(BF16, 2, 270, 2, 1, sizes[i], 0, 60);
    }
    both_ways(BF16, 2, 200, 1, 1, 64, 33, 90);
    both_ways(BF16, 1, 130, 1, 1, 128, 2, 0);
    both_ways(BF16, 1, 65, 1, 1, 64, 65, 0);
    both_ways(BF16, 1, 140, 1, 1, 64, 0, 3);
}

static void general_is_the_cpu(void **state) {
    (void)state;
    both_ways(F32, 1, 150, 4, 2, 6, 40, 0);
    both_ways(F32, 2, 130, 2, 1, 24, 0, 30);
    both_ways(F32, 2, 130, 1, 1, 64, 50, 70);
    both_ways(BF16, 1, 100, 2, 1, 80, 2, 0);
    both_ways(BF16, 1, 100, 1, 1, 200, 0, 40);
    both_ways(F32, 1, 70, 1, 1, 8, 0, 3);
}

static void generation_is_the_cpu(void **state) {
    (void)state;
    static const i64 shapes[][7] = {
        /* B, Tq, Tk, H, K, D, window */
        {1, 1, 900, 2, 1, 64, 300},  {2, 3, 600, 2, 1, 6, 257},   {1, 8, 600, 1, 1, 32, 256}, {1, 1, 30, 2, 2, 8, 1},
        {1, 40, 370, 2, 1, 64, 150}, {1, 130, 231, 1, 1, 96, 60}, {2, 33, 170, 2, 2, 24, 50}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = F32; t <= BF16; t++) {
            problem p = open_masked((dtype)t, shapes[i], i % 2 ? 8 : 0, shapes[i][6], 0);
            check_forward(&p);
            close_problem(&p);
        }
}

static void same_bits(dtype t, i64 D, bool documents) {
    enum { B = 2, T = 150 };
    const i64 n[] = {B, T, T, 4, 2, D};
    problem p = open_shape(t, n, 0, 1), m = open_shape(t, n, 0, 1);
    m.s.window = documents ? 0 : T;
    if (documents) {
        m.s.starts = m.starts = calloc(B * T, 4);
        m.c_starts = to_cuda(m.starts, (size_t)(B * T) * 4);
    }
    run_forward(&p), run_backward(&p);
    run_forward(&m), run_backward(&m);
    void *const pairs[][2] = {{snapshot(&p, p.c_o, p.no), snapshot(&m, m.c_o, m.no)},
                              {snapshot(&p, p.c_dqkv, p.n), snapshot(&m, m.c_dqkv, m.n)}};
    assert_memory_equal(pairs[0][0], pairs[0][1], bytes_of(&p, p.no));
    assert_memory_equal(pairs[1][0], pairs[1][1], bytes_of(&p, p.n));
    for (int i = 0; i < 4; i++) free(pairs[i / 2][i % 2]);
    close_problem(&p), close_problem(&m);
}

static void a_mask_that_hides_nothing_changes_no_bit(void **state) {
    (void)state;
    for (int documents = 0; documents < 2; documents++) {
        same_bits(BF16, 64, documents);
        same_bits(BF16, 128, documents);
        same_bits(F32, 24, documents);
    }
}

/* NaN in the keys and values of one document reaches no row of another that is in other tiles: at most 128 rows. */
static void documents_do_not_see_each_other(void **state) {
    (void)state;
    enum { T = 384, CUT = 256 };
    for (int t = F32; t <= BF16; t++) {
        problem p = open_shape((dtype)t, (const i64[]){1, T, T, 1, 1, 64}, 0, 1);
        attention_shape s = p.s;
        int32_t starts[T] = {0};
        for (i64 i = CUT; i < T; i++) starts[i] = CUT;
        p.s.starts = starts, p.c_starts = to_cuda(starts, sizeof starts);
        p.s.pairs = (i64)attention_pairs(1, T, 0, starts);
        const uint32_t nan[2] = {0x7fc00000, 0x7fc07fc0};
        for (i64 i = 0; i < 2 * s.D; i++)
            OK(both.cuda->ops->copy(both.cuda, tensor_at(p.c_qkv, p.t, 5 * s.ldk + p.k_at + i), &nan[t == BF16],
                                    dtype_bytes(p.t)));
        run_forward(&p);
        cuda_backward(&p);
        void *o = snapshot(&p, p.c_o, p.no), *d = snapshot(&p, p.c_dqkv, p.n);
        float *row = compact(p.t, o, T, s.ldo, 0, s.D), *gradients = compact(p.t, d, T, s.ldq, 0, s.ldq);
        for (i64 i = 5 * s.D; i < T * s.D; i++) assert_int_equal(isnan(row[i]) != 0, i / s.D < CUT);
        for (i64 i = CUT * s.ldq; i < T * s.ldq; i++) assert_false(isnan(gradients[i]));
        cuda_release(p.c_starts, sizeof starts);
        free(o), free(d), free(row), free(gradients);
        close_problem(&p);
    }
}

int main(void) {
    NEEDS_CUDA("test_cuda_attention_mask");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensor_cores_are_the_cpu),        cmocka_unit_test(general_is_the_cpu),
        cmocka_unit_test(generation_is_the_cpu),           cmocka_unit_test(a_mask_that_hides_nothing_changes_no_bit),
        cmocka_unit_test(documents_do_not_see_each_other),
    };
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
