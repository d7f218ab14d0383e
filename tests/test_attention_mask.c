/* Attention with a window and with documents (attention.h), and its count of pairs. */
#include "tests/attention_problem.h"

static void masked_matches_reference(void **state) {
    device *dev = *state;
    static const i64 cases[][8] = {/* B, Tq, Tk, H, K, D, window, document */
                                   {1, 200, 200, 2, 1, 16, 1, 0},   {2, 150, 150, 2, 2, 8, 64, 0},
                                   {1, 330, 330, 1, 1, 24, 100, 0}, {2, 300, 300, 2, 1, 16, 0, 90},
                                   {3, 140, 140, 2, 2, 8, 0, 20},   {2, 257, 257, 2, 1, 16, 50, 80},
                                   {1, 100, 100, 1, 1, 8, 100, 0},  {1, 1, 300, 2, 1, 16, 70, 0},
                                   {1, 40, 170, 2, 1, 8, 33, 0},    {1, 129, 400, 1, 1, 8, 200, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int t = F32; t <= BF16; t++) {
            const i64 *n = cases[i];
            problem p = open_masked((dtype)t, n, 2, (mask){n[6], n[7]});
            OK(run_forward(dev, &p));
            check_forward(&p);
            if (n[1] == n[2]) {
                OK(run_backward(dev, &p));
                check_backward(&p);
            }
            close_problem(&p);
        }
}

/* A window as long as the row, and documents of which each is a row, are no mask: the same bits. */
static void a_mask_that_hides_nothing_changes_no_bit(void **state) {
    device *dev = *state;
    enum { T = 150 };
    for (int t = F32; t <= BF16; t++)
        for (int kind = 0; kind < 2; kind++) {
            problem p = open_problem((dtype)t, 2, T, T, 4, 2, 40, 1), m = open_problem((dtype)t, 2, T, T, 4, 2, 40, 1);
            if (kind) m.s.starts = allocate(2 * T, 4);
            else m.s.window = T;
            OK(run_forward(dev, &p));
            OK(run_backward(dev, &p));
            OK(run_forward(dev, &m));
            OK(run_backward(dev, &m));
            assert_memory_equal(p.o, m.o, (size_t)p.no * dtype_bytes(p.t));
            assert_memory_equal(p.lse, m.lse, 2 * 4 * T * 4);
            assert_memory_equal(p.dq, m.dq, (size_t)p.nq * dtype_bytes(p.t));
            close_problem(&p), close_problem(&m);
        }
}

/* Documents in one row give the bits of each document in a row of its own: NaN in another one does not reach it, where it
 * lies in another tile (64 keys; 128 queries, of which 32 are computed together). */
static void documents_do_not_see_each_other(void **state) {
    device *dev = *state;
    enum { T = 256, CUT = 128 };
    problem p = open_problem(BF16, 1, T, T, 2, 1, 16, 1);
    attention_shape s = p.s, half = s;
    int32_t *starts = allocate(T, 4);
    for (i64 i = CUT; i < T; i++) starts[i] = CUT;
    for (i64 i = 0; i < s.ldq; i++) ((bf16 *)p.q)[5 * s.ldq + i] = 0x7fc0;
    p.s.starts = starts, p.s.pairs = (i64)attention_pairs(1, T, 0, starts);
    OK(run_forward(dev, &p));
    half.Tq = half.Tk = T - CUT;
    void *o = filled(BF16, half.Tq * s.ldo);
    float lse[2 * (T - CUT)];
    OK(attention_forward(dev, BF16, o, lse, tensor_at(p.q, BF16, CUT * s.ldq), tensor_at(p.k, BF16, CUT * s.ldk),
                         tensor_at(p.v, BF16, CUT * s.ldk), half));
    assert_memory_equal(o, tensor_at(p.o, BF16, CUT * s.ldo), (size_t)(half.Tq * s.ldo) * 2);
    for (i64 h = 0; h < 2; h++) assert_memory_equal(lse + h * (T - CUT), p.lse + h * T + CUT, (T - CUT) * 4);
    free(o);
    close_problem(&p);
}

static void counts_the_pairs(void **state) {
    device *dev = *state;
    static const i64 shapes[][8] = {/* B, Tq, Tk, H, K, D, window, document */
                                    {2, 17, 17, 4, 2, 5, 0, 0},  {1, 3, 70, 2, 2, 16, 0, 0}, {1, 1, 1, 1, 1, 1, 0, 0},
                                    {2, 17, 17, 4, 2, 5, 6, 0},  {2, 30, 30, 4, 2, 5, 0, 9}, {2, 30, 30, 4, 2, 5, 4, 9},
                                    {1, 3, 70, 2, 2, 16, 69, 0}, {1, 3, 70, 2, 2, 16, 9, 0}, {2, 9, 9, 1, 1, 1, 20, 0}};
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
        const i64 *d = shapes[n];
        problem p = open_masked(F32, d, 1, (mask){d[6], d[7]});
        uint64_t pairs = 0;
        for (i64 b = 0; b < p.s.B; b++)
            for (i64 i = 0; i < p.s.Tq; i++)
                for (i64 j = low(p.s, b, i); j < p.s.Tk; j++) pairs += j <= i + p.s.Tk - p.s.Tq;
        uint64_t product = 2 * (uint64_t)(p.s.H * p.s.D) * pairs;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masked_matches_reference),
        cmocka_unit_test(a_mask_that_hides_nothing_changes_no_bit),
        cmocka_unit_test(documents_do_not_see_each_other),
        cmocka_unit_test(counts_the_pairs),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
