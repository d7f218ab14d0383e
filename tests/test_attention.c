#include "tests/attention_problem.h"

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
        check_rows("difference", &p, tensor_at(p.dq, F32, i), 1, 1, 1, (expected){&difference, &magnitude, 1e-6});
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
static void generation_repeats_training_with(device *dev, i64 window) {
    problem p = open_masked(BF16, (const i64[]){1, 200, 200, 4, 2, 64}, 1, (mask){window, 0});
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

static void generation_repeats_training(void **state) {
    generation_repeats_training_with(*state, 0);
    generation_repeats_training_with(*state, 90);
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
    const int32_t starts[3] = {0};
    p.s.starts = starts;
    FAILS(ARG, "starts of documents with 3 queries, expected as many as keys, 4", run_forward(dev, &p));
    p.s = good, p.s.window = -1;
    FAILS(ARG, "a window of -1 keys, expected 0 (all) or more", run_forward(dev, &p));
    assert_int_equal(meter_flops_executed(&dev->flops), 0); /* nothing ran, so nothing is booked */
    p.s = good;
    close_problem(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_reference),
        cmocka_unit_test(large_scores_stay_stable),
        cmocka_unit_test(gradients_are_finite_differences),
        cmocka_unit_test(same_bits_for_any_number_of_threads),
        cmocka_unit_test(generation_repeats_training),
        cmocka_unit_test(nan_propagates),
        cmocka_unit_test(refuses_bad_shapes),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
