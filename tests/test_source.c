/* Token files as a source: several files are one sequence of tokens, documents begin where the files say, and neither the size of
 * the files nor their number shows in the resident set. */
#include "tests/text_folder.h"

#include <fcntl.h>

#include "train/data/loader.h"
#include "train/data/source.h"

static const shard_kind words = {.vocabulary = 5000, .end_of_text = 4999, .fingerprint = "bpe-5000-00000001"};

/* `documents` of 1, 2, 3, ... tokens; token i of all files is i % 4999, but the last of a document is the end-of-text */
static char *write_file(const char *name, const shard_kind *kind, i64 *token, int from, int documents) {
    shard_writer *w;
    OK(shard_writer_open(&w, in(name), kind));
    for (int d = from; d < from + documents; d++) {
        for (int i = 0; i < d + 1; i++, ++*token) {
            int32_t id = i == d ? 4999 : (int32_t)(*token % 4999);
            OK(shard_writer_add(w, &id, 1));
        }
        OK(shard_writer_end(w, d + 1));
    }
    OK(shard_writer_close(w));
    return strdup(in(name));
}

static void test_files_are_one_sequence(void **state) {
    (void)state;
    i64 count = 0;
    char *paths[] = {write_file("a.tok", &words, &count, 0, 30), write_file("b.tok", &words, &count, 30, 1),
                     write_file("c.tok", &words, &count, 31, 60)};
    source s;
    OK(source_open(&s, "files", paths, 3));
    assert_int_equal(s.count, count);
    assert_int_equal(s.documents, 91);
    assert_int_equal(s.bytes, count);
    assert_int_equal(s.vocabulary, 5000);
    assert_int_equal(s.end_of_text, 4999);
    assert_string_equal(s.fingerprint, words.fingerprint);
    int32_t *begins = malloc((size_t)count * 4), tokens[700], starts[700]; /* of the document of each token */
    i64 at = 0;
    for (int d = 0; d < 91; d++)
        for (int i = 0, begin = (int)at; i < d + 1; i++) begins[at++] = begin;
    for (i64 first = 0; first < count; first += 37)
        for (i64 n = 1; n <= 700 && first + n <= count; n = n * 3 + 1) {
            OK(source_read(&s, first, n, tokens));
            source_starts(&s, first, n, starts);
            for (i64 i = 0; i < n; i++) {
                bool last = first + i + 1 == count || begins[first + i + 1] != begins[first + i];
                assert_int_equal(tokens[i], last ? 4999 : (first + i) % 4999);
                assert_int_equal(starts[i], begins[first + i] < first ? 0 : begins[first + i] - first);
            }
        }
    /* the same files in another order, and fewer of them, are other data */
    char *other[] = {paths[1], paths[0], paths[2]};
    source t;
    OK(source_open(&t, "other", other, 3));
    assert_int_not_equal(s.crc32, t.crc32);
    source_close(&t);
    OK(source_open(&t, "fewer", paths, 2));
    assert_int_not_equal(s.crc32, t.crc32);
    source_close(&t);
    /* the vocabulary of a model */
    s.most = 4999;
    FAILS(DATA, "files: token 0 is 4999, expected 0 to 4998: the model's vocabulary", source_read(&s, 0, 5, tokens));
    source_close(&s);
    for (int i = 0; i < 3; i++) free(paths[i]);
    free(begins);
}

static void test_held_out_of_files(void **state) {
    (void)state;
    i64 count = 0;
    char *path = write_file("a.tok", &words, &count, 0, 90);
    source s;
    int32_t tokens[64], targets[64], starts[64], one[16];
    OK(source_open(&s, "files", &path, 1));
    OK(source_hold_out(&s, 0.1));
    assert_int_equal(s.train_count, count - count / 10);
    FAILS(DATA, "files: found 4095 tokens, 1 of them to train on; expected at least 2", source_hold_out(&s, 0.9999));
    OK(source_hold_out(&s, 0.1));
    i64 batches = source_held_out_batches(&s, 4, 16), next = s.train_count;
    for (i64 i = 0; i < batches; i++) {
        OK(source_held_out(&s, i, (source_batch){4, 16, tokens, targets, starts}));
        for (int row = 0; row < 4; row++, next += 16)
            for (int t = 0; t < 16 && next + t + 1 < count; t++) {
                OK(source_read(&s, next + t, 2, one));
                assert_int_equal(tokens[16 * row + t], one[0]);
                assert_int_equal(targets[16 * row + t], one[1]);
                i64 n = next + 16 < count ? 16 : count - next - 1;
                source_starts(&s, next, n, one);
                assert_int_equal(starts[16 * row + t], one[t]);
            }
        for (int k = 0; k < 64; k++) /* past the end too */
            assert_true(starts[k] == k % 16 || (k % 16 && starts[k] == starts[k - 1]));
    }
    source_close(&s);
    free(path);
}

static void test_text_in_memory(void **state) {
    (void)state;
    corpus c;
    int32_t starts[12];
    OK(load_one(&c, put("a", "abcdefgh")));
    source s = source_of_corpus(&c, "a");
    static const int32_t expected[] = {0, 0, 0, 0, 0, 0, 0, 0, 0};
    source_starts(&s, 0, 9, starts);
    assert_memory_equal(starts, expected, sizeof expected);
    c.tokens[2] = c.tokens[3] = c.tokens[6] = TOKEN_END_OF_TEXT; /* ab| | ef| h| */
    static const int32_t with_ends[] = {0, 0, 2, 3, 3, 3, 6, 6};
    source_starts(&s, 1, 8, starts);
    assert_memory_equal(starts, with_ends, sizeof with_ends);
    corpus_free(&c);
}

static void test_what_does_not_go_together(void **state) {
    (void)state;
    i64 count = 0;
    shard_kind other = {.vocabulary = 5000, .end_of_text = 4999, .fingerprint = "bpe-5000-00000002"};
    char *paths[] = {write_file("a.tok", &words, &count, 0, 9), write_file("b.tok", &other, &count, 0, 9)};
    source s;
    FAILS(DATA, "b.tok: has tokens of \"bpe-5000-00000002\", 5000 in its vocabulary, but ",
          source_open(&s, "x", paths, 2));
    source_close(&s);
    for (int i = 0; i < 2; i++) free(paths[i]);
}

/* ---- large files ---- */

static i64 resident(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d %ld", &pages), 1);
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* llm.c's format, all tokens 0; takes no room on the disk */
static char *sparse(const char *name, int32_t count) {
    const int32_t header[3] = {20240520, 1, count};
    const char *path = put_bytes(name, header, sizeof header);
    assert_int_equal(truncate(path, 1024 + 2 * (off_t)count), 0);
    return strdup(path);
}

/* Batches of `files`: the resident set grows by no more than what is kept before pages are dropped. */
static void check_memory(char **paths, int files, i64 batches) {
    enum { T = 16384 };
    source s;
    loader *l;
    token_batch b;
    i64 before = resident(), most = before;
    OK(source_open(&s, "sparse", paths, files));
    OK(source_hold_out(&s, 0.1));
    OK(loader_open(&l, &s, 1, (loader_options){.B = 1, .T = T, .seed = 1, .ranks = 1}, NULL));
    for (i64 i = 0; i < batches; i++) {
        OK(loader_next(l, &b));
        assert_int_equal(b.tokens[0] | b.tokens[T - 1], 0);
        if (i % 64 == 0 && resident() > most) most = resident();
    }
    if (most - before > 160 << 20) fail_msg("the resident set grew by %ld MiB", (most - before) >> 20);
    loader_close(l);
    source_close(&s);
}

static void test_a_file_of_4_GiB(void **state) {
    (void)state;
    char *path = sparse("large.bin", INT32_MAX);
    check_memory(&path, 1, 16000); /* 32 KiB each: 500 MiB of the file are read */
    free(path);
}

static void test_many_files(void **state) {
    (void)state;
    enum { FILES = 48 };
    char *paths[FILES], name[16];
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%02d.bin", i);
        paths[i] = sparse(name, 8 << 20);
    }
    check_memory(paths, FILES, 16000);
    for (int i = 0; i < FILES; i++) free(paths[i]);
}

int main(void) {
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_files_are_one_sequence), WITH_FOLDER(test_held_out_of_files),
        WITH_FOLDER(test_text_in_memory),         WITH_FOLDER(test_what_does_not_go_together),
        WITH_FOLDER(test_a_file_of_4_GiB),        WITH_FOLDER(test_many_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
