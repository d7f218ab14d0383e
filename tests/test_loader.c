#include "tests/check.h"

#include <unistd.h>

#include "train/data/loader.h"

/* token i is i, so that a batch shows where it came from */
static corpus counting(i64 count, i64 train_count) {
    corpus c = {.tokens = malloc((size_t)count * 2), .count = count, .train_count = train_count};
    for (i64 i = 0; i < count; i++) c.tokens[i] = (uint16_t)i;
    return c;
}

/* the orders of both kinds must hold the same promises */
static loader_order kind = LOADER_ORDER_TABLE;

static status open_one(loader **l, const corpus *c, loader_options o, i64 position) {
    static source s; /* the loader of another corpus is closed by then */
    s = source_of_corpus(c, "text");
    o.order = kind;
    return loader_open(l, &s, 1, o, &(mix_position){.windows = position, .used = {position}});
}

/* reads n windows (a multiple of B) and checks each token by token */
static void collect(i64 *windows, i64 n, const corpus *c, i64 B, i64 T, uint64_t seed, i64 position) {
    loader *l;
    OK(open_one(&l, c, (loader_options){.B = B, .T = T, .seed = seed, .ranks = 1}, position));
    assert_int_equal(loader_position(l).windows, position);
    for (i64 i = 0; i < n; i += B) {
        token_batch b;
        OK(loader_next(l, &b));
        assert_int_equal(loader_position(l).windows, position + i + B);
        assert_int_equal(loader_position(l).used[0], position + i + B);
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
        OK(open_one(&l, &c, (loader_options){.B = B, .T = cases[k].T, .seed = 5, .ranks = 1}, 0));
        assert_int_equal(loader_windows_per_epoch(l, 0), W);
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

/* Earlier versions have stored positions in this order. The numbers were computed by another program from the definition: Philox,
 * and Fisher-Yates from the end. */
static void test_order_of_earlier_versions(void **state) {
    (void)state;
    static const i64 expected[22] = {6, 2, 10, 1, 0, 9, 7, 5, 8, 4, 3, 2, 5, 10, 8, 3, 6, 0, 4, 9, 7, 1};
    corpus c = counting(45, 45);
    i64 windows[22];
    source s = source_of_corpus(&c, "text");
    loader *l;
    OK(loader_open(&l, &s, 1, (loader_options){.B = 1, .T = 4, .seed = 9, .ranks = 1}, NULL));
    assert_int_equal(loader_order_of(l), LOADER_ORDER_TABLE); /* chosen for a text of bytes */
    loader_close(l);
    s.byte_text = false;
    OK(loader_open(&l, &s, 1, (loader_options){.B = 1, .T = 4, .seed = 9, .ranks = 1}, NULL));
    assert_int_equal(loader_order_of(l), LOADER_ORDER_KEYED);
    loader_close(l);
    kind = LOADER_ORDER_TABLE;
    collect(windows, 22, &c, 1, 4, 9, 0);
    assert_memory_equal(windows, expected, sizeof windows);
    corpus_free(&c);
}

/* ---- several sources ---- */

enum { SOURCES = 3, TOKENS = 401, LENGTH = 4, WINDOWS = 100 };
static const double weights[SOURCES] = {5, 3, 2};

/* source k holds the tokens 1000 k + i */
static void three(source s[SOURCES], uint16_t tokens[SOURCES][TOKENS]) {
    for (int k = 0; k < SOURCES; k++) {
        for (int i = 0; i < TOKENS; i++) tokens[k][i] = (uint16_t)(1000 * k + i);
        s[k] = (source){.name = "s", .weight = weights[k], .count = TOKENS, .train_count = TOKENS, .text = tokens[k]};
    }
}

static void test_mix(void **state) {
    (void)state;
    enum { N = 600 };
    uint16_t tokens[SOURCES][TOKENS];
    source s[SOURCES];
    int whole[N];
    i64 used[SOURCES] = {0};
    bool seen[SOURCES][WINDOWS] = {{0}};
    token_batch b;
    loader *l;
    three(s, tokens);
    OK(loader_open(&l, s, SOURCES, (loader_options){.B = 1, .T = LENGTH, .seed = 3, .ranks = 1}, NULL));
    for (int i = 0; i < N; i++) {
        OK(loader_next(l, &b));
        whole[i] = b.tokens[0];
        int k = b.tokens[0] / 1000, window = b.tokens[0] % 1000 / LENGTH;
        for (int t = 0; t < LENGTH; t++) assert_int_equal(b.targets[t], b.tokens[0] + t + 1);
        if (used[k] % WINDOWS == 0) memset(seen[k], 0, sizeof seen[k]); /* an epoch of this source begins */
        assert_false(seen[k][window]);
        seen[k][window] = true;
        used[k]++;
        mix_position p = loader_position(l);
        assert_int_equal(p.windows, i + 1);
        for (int j = 0; j < SOURCES; j++) {
            assert_int_equal(p.used[j], used[j]);
            assert_true(fabs((double)used[j] - (i + 1) * weights[j] / 10) < SOURCES);
        }
    }
    loader_close(l);
    /* resumed anywhere, on any number of ranks, with other batches: the same windows */
    mix_position p = {0};
    mix m = mix_init(weights, SOURCES);
    for (int at = 0; at < 400; at++) {
        for (int ranks = 1; ranks <= 3; ranks += 2)
            for (int rank = 0; rank < ranks && at % 7 == 0; rank++) {
                loader_options o = {.B = 2, .T = LENGTH, .seed = 3, .rank = rank, .ranks = ranks};
                OK(loader_open(&l, s, SOURCES, o, &p));
                for (int i = 0; i < 10; i++) {
                    OK(loader_next(l, &b));
                    for (int row = 0; row < 2; row++)
                        assert_int_equal(b.tokens[row * LENGTH], whole[at + (i * ranks + rank) * 2 + row]);
                }
                loader_close(l);
            }
        assert_int_equal(mix_next(&m, &p), whole[at] / 1000);
    }
}

static void test_a_source_fails(void **state) {
    (void)state;
    uint16_t tokens[SOURCES][TOKENS];
    source s[SOURCES];
    token_batch b;
    loader *l;
    three(s, tokens);
    for (int k = 0; k < SOURCES; k++) s[k].most = 3000;
    tokens[1][398] = 3000;
    OK(loader_open(&l, s, SOURCES, (loader_options){.B = 1, .T = LENGTH, .seed = 3, .ranks = 1}, NULL));
    status_code st = STATUS_OK;
    for (int i = 0; !st && i < 1000; i++) st = loader_next(l, &b);
    assert_int_equal(st, STATUS_DATA);
    assert_non_null(strstr(status_message(), "s: token 398 is 3000, expected 0 to 2999: the model's vocabulary"));
    FAILS(DATA, "s: token 398 is 3000", loader_next(l, &b));
    loader_close(l);
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
            loader_options o = {.B = B, .T = T, .seed = 9, .rank = rank, .ranks = ranks};
            OK(open_one(&l, &c, o, POSITION));
            for (i64 i = 0; (i + 1) * ranks * B <= N; i++) {
                token_batch b;
                OK(loader_next(l, &b));
                assert_int_equal(loader_position(l).windows, POSITION + (i + 1) * ranks * B);
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
    OK(open_one(&l, &c, (loader_options){.B = 3, .T = 7, .seed = 1, .ranks = 1}, 0));
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
        OK(open_one(&l, &c, (loader_options){.B = 2, .T = 16, .seed = 1, .ranks = 1}, i));
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
    loader_options o = {.B = 1, .T = 16, .ranks = 1};
    FAILS(DATA, "text: found 16 tokens to train on, expected at least 17 for one sequence of 16",
          open_one(&l, &c, o, 0));
    assert_null(l);
    FAILS(ARG, "batch 0", open_one(&l, &c, (loader_options){.T = 4, .ranks = 1}, 0));
    FAILS(ARG, "sequence length 0", open_one(&l, &c, (loader_options){.B = 1, .ranks = 1}, 0));
    o.T = 15;
    FAILS(ARG, "position -1", open_one(&l, &c, o, -1));
    OK(open_one(&l, &c, o, 0));
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
        source s = source_of_corpus(&c, "text");
        i64 windows = held > 1 ? (held - 1 + T - 1) / T : 0, batches = (windows + B - 1) / B;
        assert_int_equal(source_held_out_batches(&s, B, T), batches);
        for (i64 i = 0; i < batches; i++) {
            OK(source_held_out(&s, i, (source_batch){B, T, tokens, targets, NULL}));
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
        corpus_free(&c);
    }
}

static int keyed(void **state) {
    (void)state;
    kind = LOADER_ORDER_KEYED;
    return 0;
}
static int table(void **state) {
    (void)state;
    kind = LOADER_ORDER_TABLE;
    return 0;
}

int main(void) {
#define OF_BOTH_KINDS(f)                                                                                               \
    {#f " (table)", f, table, NULL, NULL}, { #f " (keyed)", f, keyed, NULL, NULL }
    const struct CMUnitTest tests[] = {
        OF_BOTH_KINDS(test_each_window_once_an_epoch),
        OF_BOTH_KINDS(test_resume_from_any_position),
        OF_BOTH_KINDS(test_ranks_share_the_windows_of_one),
        cmocka_unit_test(test_order_of_earlier_versions),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_a_source_fails),
        cmocka_unit_test(test_batch_stays_valid_until_the_next_call),
        cmocka_unit_test(test_close_at_any_moment),
        cmocka_unit_test(test_loader_refuses),
        cmocka_unit_test(test_held_out_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
