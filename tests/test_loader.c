#include "tests/check.h"

#include <unistd.h>

#include "train/data/loader.h"

/* token i is i, so that a batch shows where it came from */
static corpus counting(i64 count, i64 train_count) {
    corpus c = {.tokens = malloc((size_t)count * 2), .count = count, .train_count = train_count};
    for (i64 i = 0; i < count; i++) c.tokens[i] = (uint16_t)i;
    return c;
}

/* reads n windows (a multiple of B) and checks each token by token */
static void collect(i64 *windows, i64 n, const corpus *c, i64 B, i64 T, uint64_t seed, i64 position) {
    loader *l;
    OK(loader_open(&l, c, B, T, seed, position, 0, 1));
    assert_int_equal(loader_position(l), position);
    for (i64 i = 0; i < n; i += B) {
        token_batch b;
        OK(loader_next(l, &b));
        assert_int_equal(loader_position(l), position + i + B);
        for (i64 row = 0; row < B; row++) {
            i64 first = b.tokens[row * T];
            assert_int_equal(first % T, 0);
            windows[i + row] = first / T;
            for (i64 t = 0; t < T; t++) {
                assert_int_equal(b.tokens[row * T + t], first + t);
                assert_int_equal(b.targets[row * T + t], first + t + 1);
                assert_true(b.targets[row * T + t] < c->train_count);
            }
        }
    }
    loader_close(l);
}

static void test_each_window_once_an_epoch(void **state) {
    (void)state;
    static const struct {
        i64 train_count, B, T;
    } cases[] = {{2, 1, 1}, {33, 4, 8}, {40, 4, 8}, {41, 3, 8}, {1000, 7, 3}, {999, 64, 31}, {60000, 5, 64}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        corpus c = counting(cases[k].train_count + 50, cases[k].train_count);
        i64 W = (cases[k].train_count - 1) / cases[k].T, epochs = 3;
        i64 B = cases[k].B, n = (epochs * W + B - 1) / B * B; /* batches straddle epochs unless B divides W */
        i64 *windows = malloc((size_t)n * sizeof *windows);
        loader *l;
        OK(loader_open(&l, &c, B, cases[k].T, 5, 0, 0, 1));
        assert_int_equal(loader_windows_per_epoch(l), W);
        loader_close(l);
        collect(windows, n, &c, B, cases[k].T, 5, 0);
        for (i64 e = 0; e < epochs; e++) {
            char *seen = calloc(1, (size_t)W);
            for (i64 i = 0; i < W; i++) {
                i64 w = windows[e * W + i];
                assert_true(w >= 0 && w < W && !seen[w]);
                seen[w] = 1;
            }
            free(seen);
        }
        if (W > 100) { /* two random orders of so many agree with a chance of 1/W! */
            i64 *other = malloc((size_t)n * sizeof *other);
            assert_true(memcmp(windows, windows + W, (size_t)W * sizeof *windows) != 0);
            collect(other, n, &c, B, cases[k].T, 6, 0);
            assert_true(memcmp(windows, other, (size_t)W * sizeof *windows) != 0);
            collect(other, n, &c, B, cases[k].T, 5, 0);
            assert_memory_equal(windows, other, (size_t)n * sizeof *windows);
            free(other);
        }
        free(windows);
        corpus_free(&c);
    }
}

static void test_resume_from_any_position(void **state) {
    (void)state;
    enum { W = 11, T = 4, N = 4 * W };
    corpus c = counting(W * T + 1, W * T + 1);
    i64 whole[N + 15], part[15];
    collect(whole, N + 15, &c, 1, T, 9, 0);
    for (i64 position = 0; position <= N; position++)
        for (i64 B = 1; B <= 15; B += 2) {
            collect(part, B, &c, B, T, 9, position);
            assert_memory_equal(part, whole + position, (size_t)B * sizeof *part);
        }
    corpus_free(&c);
}

static void test_ranks_share_the_windows_of_one(void **state) {
    (void)state;
    enum { W = 11, T = 4, N = 3 * W + 8, B = 2, POSITION = 5 };
    corpus c = counting(W * T + 1, W * T + 1);
    i64 whole[POSITION + N];
    collect(whole, POSITION + N, &c, 1, T, 9, 0);
    for (int ranks = 1; ranks <= 4; ranks++)
        for (int rank = 0; rank < ranks; rank++) {
            loader *l;
            OK(loader_open(&l, &c, B, T, 9, POSITION, rank, ranks));
            for (i64 i = 0; (i + 1) * ranks * B <= N; i++) {
                token_batch b;
                OK(loader_next(l, &b));
                assert_int_equal(loader_position(l), POSITION + (i + 1) * ranks * B);
                for (i64 row = 0; row < B; row++)
                    assert_int_equal(b.tokens[row * T] / T, whole[POSITION + (i * ranks + rank) * B + row]);
            }
            loader_close(l);
        }
    corpus_free(&c);
}

static void test_batch_stays_valid_until_the_next_call(void **state) {
    (void)state;
    corpus c = counting(5000, 5000);
    loader *l;
    OK(loader_open(&l, &c, 3, 7, 1, 0, 0, 1));
    for (int i = 0; i < 50; i++) {
        token_batch b;
        int32_t copy[21];
        OK(loader_next(l, &b));
        memcpy(copy, b.tokens, sizeof copy);
        usleep(200); /* lets the thread run ahead into the ring; the result must not depend on it */
        assert_memory_equal(copy, b.tokens, sizeof copy);
        for (int k = 0; k < 21; k++) assert_int_equal(b.targets[k], copy[k] + 1);
    }
    loader_close(l);
    corpus_free(&c);
}

static void test_close_at_any_moment(void **state) {
    (void)state;
    corpus c = counting(3000, 3000);
    for (int i = 0; i < 200; i++) {
        loader *l;
        OK(loader_open(&l, &c, 2, 16, 1, i, 0, 1));
        token_batch b;
        for (int k = 0; k < i % 7; k++) OK(loader_next(l, &b));
        if (i % 3 == 0) usleep(300); /* long enough, as a rule, for the ring to be full */
        loader_close(l);
    }
    loader_close(NULL);
    corpus_free(&c);
}

static void test_loader_refuses(void **state) {
    (void)state;
    corpus c = counting(20, 16);
    loader *l;
    FAILS(DATA, "found 16 tokens, expected at least 17 for one sequence of 16", loader_open(&l, &c, 1, 16, 1, 0, 0, 1));
    assert_null(l);
    FAILS(ARG, "batch 0", loader_open(&l, &c, 0, 4, 1, 0, 0, 1));
    FAILS(ARG, "sequence length 0", loader_open(&l, &c, 1, 0, 1, 0, 0, 1));
    FAILS(ARG, "position -1", loader_open(&l, &c, 1, 4, 1, -1, 0, 1));
    OK(loader_open(&l, &c, 1, 15, 1, 0, 0, 1));
    loader_close(l);
    corpus_free(&c);
}

/* ---- held out ---- */

static void test_held_out_windows(void **state) {
    (void)state;
    /* held out tokens, B, T; 0 and 1 give no pair, 2 the smallest batch; whole and partial last windows and batches */
    static const i64 cases[][3] = {{0, 2, 4},  {1, 2, 4},  {2, 2, 4},  {9, 2, 4},
                                   {10, 2, 4}, {17, 2, 4}, {18, 2, 4}, {100, 3, 7}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        i64 held = cases[k][0], B = cases[k][1], T = cases[k][2], train = 1000, next = train;
        corpus c = counting(train + held, train);
        int32_t tokens[32], targets[32];
        i64 i = 0;
        for (; corpus_val_batch(&c, i, B, T, tokens, targets); i++) {
            assert_true(targets[0] != -1);
            for (i64 j = 0; j < B * T; j++) {
                /* every token of the held-out part but the first, once, in order */
                bool there = next + 1 < train + held;
                assert_int_equal(tokens[j], there ? next : TOKEN_END_OF_TEXT);
                assert_int_equal(targets[j], there ? next + 1 : -1);
                if (there) assert_true(tokens[j] >= c.train_count);
                next += there;
            }
        }
        assert_int_equal(next, held > 1 ? train + held - 1 : train);
        i64 windows = held > 1 ? (held - 1 + T - 1) / T : 0;
        assert_int_equal(i, (windows + B - 1) / B);
        corpus_free(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_window_once_an_epoch),
        cmocka_unit_test(test_resume_from_any_position),
        cmocka_unit_test(test_ranks_share_the_windows_of_one),
        cmocka_unit_test(test_batch_stays_valid_until_the_next_call),
        cmocka_unit_test(test_close_at_any_moment),
        cmocka_unit_test(test_loader_refuses),
        cmocka_unit_test(test_held_out_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
