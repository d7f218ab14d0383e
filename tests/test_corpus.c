#include "tests/text_folder.h"

/* ---- corpus ---- */

static void test_text_file(void **state) {
    (void)state;
    check_one(put("a.txt", "hello"), "hello|");
    check_one(put("b", "two\nlines\n"), "two\nlines\n|");
}

static void test_high_bytes_are_tokens_of_their_own(void **state) {
    (void)state;
    char all[255];
    for (int i = 0; i < 255; i++) all[i] = (char)(i + 1);
    corpus c;
    OK(load_one(&c, put_bytes("all", all, sizeof all)));
    assert_int_equal(c.count, 256);
    for (int i = 0; i < 256; i++) assert_int_equal(c.tokens[i], i + 1); /* the last is end-of-text, 256 */
    corpus_free(&c);
}

static void test_jsonl(void **state) {
    (void)state;
    /* CRLF, other fields, escapes, an empty text (no document), a blank line, no newline at the end */
    corpus c;
    OK(load_one(&c, put("a.jsonl",
                        "{\"text\":\"one\",\"n\":1}\r\n{\"text\":\"\"}\n \n{\"id\":[],\"text\":\"t\\n\\\\u0000\"}")));
    assert_int_equal(c.documents, 2);
    assert_int_equal(c.bytes, 3 + 8);
    assert_int_equal(c.count, 13);
    bool first = c.tokens[0] == 'o';
    const char *expected = first ? "one|t\n\\u0000|" : "t\n\\u0000|one|";
    check_tokens(&c, expected);
    corpus_free(&c);
}

static void test_long_lines_and_files_cross_buffers(void **state) {
    (void)state;
    char *text = long_text(), *line = malloc(2 * LONG + 100);
    int bytes = sprintf(line, "{\"text\":\"%s\"}\n{\"text\":\"%s\"}\n", text, text);
    const char *paths[] = {put_bytes("a.txt", text, LONG), put_gz("a.txt.gz", "wb", text, LONG),
                           put_bytes("b.jsonl", line, (size_t)bytes), put_gz("b.jsonl.gz", "wb", line, (size_t)bytes)};
    corpus c;
    OK(load_strictly(&c, paths, 4, 0.25, 1));
    assert_int_equal(c.documents, 6);
    assert_int_equal(c.bytes, 6 * (i64)LONG);
    assert_int_equal(c.count, 6 * ((i64)LONG + 1));
    assert_int_equal(c.train_count, c.count - c.count / 4);
    for (i64 d = 0; d < 6; d++) {
        const uint16_t *t = c.tokens + d * (LONG + 1);
        for (i64 i = 0; i < LONG; i++)
            if (t[i] != text[i]) fail_msg("document %d, byte %d", (int)d, (int)i);
        assert_int_equal(t[LONG], TOKEN_END_OF_TEXT);
    }
    corpus_free(&c);
    free(text);
    free(line);
}

static void test_gz_of_several_members(void **state) {
    (void)state;
    put_gz("a.gz", "wb", "one", 3);
    put_gz("a.gz", "ab", "", 0);
    check_one(put_gz("a.gz", "ab", "two", 3), "onetwo|");
}

static void test_folder_is_sorted_and_skips(void **state) {
    (void)state;
    put_folder("d");
    put_folder("d/sub");
    put_folder("d/sub/deeper");
    put_folder("d/.git");
    put("d/.hidden", "no");
    put("d/.git/config", "no");
    put("d/c.txt", "c");
    put("d/empty", "");
    put("d/sub/b.txt", "b");
    put("d/sub/deeper/x.jsonl", "{\"text\":\"x\"}");
    put_bytes("d/binary", "text\0", 5);
    put_gz("d/binary.gz", "wb", "a\0b", 3);
    char *late = long_text(); /* its NUL is found after much of it was accepted as text */
    put_bytes("d/late", late, LONG + 1);
    free(late);
    assert_int_equal(mkfifo(in("d/fifo"), 0600), 0);
    put("outside", "o");
    assert_int_equal(symlink("../outside", in("d/linked")), 0);
    assert_int_equal(symlink("nowhere", in("d/dangling")), 0);
    assert_int_equal(symlink("..", in("d/sub/loop")), 0);

    corpus c, again, other;
    log_begin();
    status_code st = load_one(&c, in("d"));
    if (!st) documents_log(&c.text);
    const char *said = log_end();
    OK(st);
    if (!strstr(said, "skipped: 6 in all") || !strstr(said, "d/binary: found a NUL byte at offset 4") ||
        !strstr(said, "d/dangling: a broken link"))
        fail_msg("%s", said);

    assert_int_equal(c.documents, 4); /* c, b, x, linked */
    assert_int_equal(c.bytes, 4);
    assert_int_equal(c.count, 8);
    int seen[256] = {0};
    for (i64 i = 0; i < c.count; i += 2) {
        seen[c.tokens[i]]++;
        assert_int_equal(c.tokens[i + 1], TOKEN_END_OF_TEXT);
    }
    assert_true(seen['c'] == 1 && seen['b'] == 1 && seen['x'] == 1 && seen['o'] == 1);
    /* the order depends on names and seed only: the same as naming the files in sorted order */
    const char *sorted[] = {in("d/c.txt"), in("d/linked"), in("d/sub/b.txt"), in("d/sub/deeper/x.jsonl")};
    OK(load_strictly(&again, sorted, 4, 0, 1));
    assert_int_equal(c.crc32, again.crc32);
    const char *unsorted[] = {sorted[2], sorted[0], sorted[1], sorted[3]};
    OK(load_strictly(&other, unsorted, 4, 0, 1));
    assert_int_not_equal(c.crc32, other.crc32);
    corpus_free(&c);
    corpus_free(&again);
    corpus_free(&other);
}

static void test_documents_are_shuffled_by_seed(void **state) {
    (void)state;
    enum { DOCUMENTS = 100 };
    char lines[DOCUMENTS * 32];
    int bytes = 0;
    for (int i = 0; i < DOCUMENTS; i++)
        bytes += sprintf(lines + bytes, "{\"text\":\"%c%c\"}\n", 'A' + i / 10, '0' + i % 10);
    const char *path = put("a.jsonl", lines);
    uint32_t crc[2] = {0};
    for (int run = 0; run < 3; run++) { /* seeds 0, 1, and 0 again */
        corpus c;
        OK(load_strictly(&c, &path, 1, 0, (uint64_t)(run % 2)));
        bool seen[DOCUMENTS] = {0};
        int in_place = 0;
        for (int i = 0; i < DOCUMENTS; i++) {
            const uint16_t *t = c.tokens + 3 * i;
            int document = (t[0] - 'A') * 10 + t[1] - '0';
            assert_true(document >= 0 && document < DOCUMENTS && !seen[document] && t[2] == TOKEN_END_OF_TEXT);
            seen[document] = true;
            in_place += document == i;
        }
        assert_true(in_place < DOCUMENTS);
        if (run < 2) crc[run] = c.crc32;
        else assert_int_equal(c.crc32, crc[0]);
        corpus_free(&c);
    }
    assert_int_not_equal(crc[0], crc[1]);
}

static void test_bad_paths(void **state) {
    (void)state;
    corpus c;
    FAILS(DATA, "missing: No such file or directory, expected a text file or a folder", load_one(&c, in("missing")));
    assert_null(c.tokens);
    put_folder("empty");
    FAILS(DATA, "empty: found no text in this folder, expected at least one", load_one(&c, in("empty")));
    put("empty/nothing", "");
    FAILS(DATA, "empty: found no text in this folder, expected at least one", load_one(&c, in("empty")));
    FAILS(DATA, "zero: found no text, expected at least one file", load_one(&c, put("zero", "")));
    FAILS(DATA, "nul: found a NUL byte at offset 3, expected text", load_one(&c, put_bytes("nul", "abc\0d", 5)));
    FAILS(DATA, "nul.gz: found a NUL byte at offset 1", load_one(&c, put_gz("nul.gz", "wb", "a\0", 2)));
    FAILS(DATA, "nul.jsonl:1: found a NUL byte at column 3", load_one(&c, put_bytes("nul.jsonl", "{\"\0", 3)));
    assert_int_equal(mkfifo(in("fifo"), 0600), 0);
    FAILS(DATA, "fifo: found neither a file nor a folder", load_one(&c, in("fifo")));
    const char *path = put("a", "abcd");
    FAILS(ARG, "fraction to hold out: found 1", load_strictly(&c, &path, 1, 1, 1));
    FAILS(ARG, "fraction to hold out: found nan", load_strictly(&c, &path, 1, NAN, 1));
    FAILS(ARG, "expected at least one file or folder", load_strictly(&c, &path, 0, 0, 1));
    FAILS(DATA, "a: found 5 tokens, 1 of them to train on; expected at least 2", load_strictly(&c, &path, 1, 0.99, 1));
    const char *with_empty[] = {in("zero"), path}; /* fine, as long as there is some text */
    OK(load_strictly(&c, with_empty, 2, 0, 1));
    check_tokens(&c, "abcd|");
    corpus_free(&c);
}

static void test_bad_jsonl(void **state) {
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"{\"text\": \"a\"", ":2: found no valid JSON at column"},
        {"{\"text\": \"a\"} x", ":2: found no valid JSON at column 15 ("},
        {"plain text",
         ":2: found no valid JSON at column 1 (invalid token), expected an object with a string \"text\""},
        {"{\"body\": \"a\"}", ":2: found no key \"text\" but \"body\"; --text-key names the key of the text"},
        {"{\"Text\": \"a\"}", ":2: found no key \"text\" but \"Text\""},
        {"{\"text\": 3}", ":2: found \"text\" that is a number"},
        {"{\"text\": null}", ":2: found \"text\" that is null"},
        {"{\"text\": [\"a\"]}", ":2: found \"text\" that is an array"},
        {"[\"text\"]", ":2: found an array, expected an object"},
        {"\"text\"", ":2: found a string, expected an object"},
        {"true", ":2: found a boolean, expected an object"},
        {"{}", ":2: found no key \"text\" but no keys"},
        {"{\"text\": \"a\", \"text\": \"b\"}", ":2: found no valid JSON at column 15 (duplicate object key)"},
        {"{\"text\": 12345678901234567890}", ":2: found \"text\" that is a number"},
        {"{\"text\": \"cut \\u0000 here\"}", ":2: found \\u0000 in \"text\", expected text without NUL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"text\": \"good\"}\n%s\n{\"text\": \"good\"}\n", cases[i].line);
        corpus c;
        FAILS(DATA, cases[i].message, load_one(&c, put("a.jsonl", text)));
        assert_non_null(strstr(status_message(), "/a.jsonl:2: "));
        FAILS(DATA, cases[i].message, load_one(&c, folder)); /* an error in a folder too */
        unlink(in("a.jsonl"));
        FAILS(DATA, cases[i].message, load_one(&c, put_gz("a.jsonl.gz", "wb", text, strlen(text))));
        unlink(in("a.jsonl.gz"));
    }
}

/* Every cut of a gzip file is refused, and every flipped bit of it either refused or without effect (a few of
 * its bytes have no meaning: time, system). */
static void check_damage(const char *name, const char *good_text) {
    unsigned char good[4096], bad[4096];
    char path[256];
    snprintf(path, sizeof path, "%s", in(name));
    size_t bytes = get(path, good, sizeof good);
    assert_true(bytes > 20 && bytes < sizeof good);
    corpus c;
    OK(load_one(&c, path));
    uint32_t crc = c.crc32;
    corpus_free(&c);
    for (size_t cut = 0; cut < bytes; cut++) {
        put_bytes(name, good, cut);
        FAILS(DATA, "zlib: unexpected end of file, expected a whole gzip stream", load_one(&c, path));
        assert_non_null(strstr(status_message(), path));
    }
    int harmless = 0;
    for (size_t bit = 0; bit < 8 * bytes; bit++) {
        memcpy(bad, good, bytes);
        bad[bit / 8] ^= (unsigned char)(1 << bit % 8);
        put_bytes(name, bad, bytes);
        status_code st = load_one(&c, path);
        if (st == STATUS_OK) {
            assert_int_equal(c.crc32, crc);
            corpus_free(&c);
            harmless++;
        } else if (st != STATUS_DATA || !strstr(status_message(), "zlib: "))
            fail_msg("bit %d: %s", (int)bit, status_message());
    }
    assert_true(harmless <= 8 * 7); /* FTEXT and the rest of the flags, 4 bytes of time, extra flags, system */
    put_bytes(name, good, bytes);
    FILE *f = fopen(path, "ab");
    fputs("behind", f);
    fclose(f);
    FAILS(DATA, "after the last gzip member", load_one(&c, path));
    put_bytes(name, good_text, strlen(good_text)); /* not compressed at all */
    FAILS(DATA, "zlib: incorrect header check, expected a whole gzip stream", load_one(&c, path));
    FAILS(DATA, "zlib: incorrect header check", load_one(&c, folder));
}

static void test_damaged_gz(void **state) {
    (void)state;
    const char *text = "the quick brown fox jumps over the lazy dog, and the dog over the fox\n";
    put_gz("a.txt.gz", "wb", text, strlen(text));
    check_damage("a.txt.gz", text);
}

static void test_damaged_jsonl_gz(void **state) {
    (void)state;
    const char *text = "{\"text\": \"the quick brown fox\"}\n{\"text\": \"jumps over the lazy dog, over the fox\"}\n";
    put_gz("a.jsonl.gz", "wb", text, strlen(text));
    check_damage("a.jsonl.gz", text);
}

/* Damage that shows as bad JSON, or as a NUL byte, long before the crc is reached: zlib reports it, and the damaged
 * file is not skipped as one that holds no text. */
static void test_damage_far_from_the_crc(void **state) {
    (void)state;
    static const char *const names[] = {"a.txt.gz", "a.jsonl.gz"};
    char *text = long_text(), *line = malloc(LONG + 100);
    unsigned char *stored = malloc(2 * LONG);
    for (int i = 0; i < 2; i++) {
        int bytes = i ? sprintf(line, "{\"text\":1}\n{\"text\":\"%s\"}\n", text) : sprintf(line, "12345678%s", text);
        put_gz(names[i], "wb0", line, (size_t)bytes); /* not compressed: a byte of the file is one of the text */
        size_t size = get(in(names[i]), stored, 2 * LONG);
        unsigned char *eight = memchr(stored, i ? '1' : '8', 64);
        assert_non_null(eight);
        *eight = i ? '2' : 0;
        put_bytes(names[i], stored, size);
        corpus c;
        FAILS(DATA, "zlib: incorrect data check", load_one(&c, in(names[i])));
        FAILS(DATA, "zlib: incorrect data check", load_one(&c, folder));
        unlink(in(names[i]));
    }
    free(text);
    free(line);
    free(stored);
}

/* ---- held out ---- */

static void test_training_never_sees_what_is_held_out(void **state) {
    (void)state;
    char text[5000];
    for (int i = 0; i < 4999; i++) text[i] = i < 4000 ? 'a' : 'b';
    text[4999] = 0;
    const char *path = put("a", text);
    corpus c;
    OK(load_strictly(&c, &path, 1, 0.2, 1)); /* 5000 tokens, the last 1000 of them: 999 b and end-of-text */
    assert_int_equal(c.train_count, 4000);
    int32_t tokens[64], targets[64];
    source s = source_of_corpus(&c, "a");
    assert_int_equal(source_held_out_batches(&s, 4, 16), 16);
    for (i64 i = 0; i < 16; i++) {
        OK(source_held_out(&s, i, (source_batch){4, 16, tokens, targets, NULL}));
        for (int j = 0; j < 64; j++) assert_true(tokens[j] == 'b' || tokens[j] == TOKEN_END_OF_TEXT);
    }
    loader *l;
    OK(loader_open(&l, &s, 1, (loader_options){.B = 4, .T = 16, .seed = 1, .ranks = 1}, NULL));
    for (int i = 0; i < 200; i++) {
        token_batch b;
        OK(loader_next(l, &b));
        for (int j = 0; j < 64; j++) assert_true(b.tokens[j] == 'a' && b.targets[j] == 'a');
    }
    loader_close(l);
    corpus_free(&c);
}

int main(void) {
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_text_file),
        WITH_FOLDER(test_high_bytes_are_tokens_of_their_own),
        WITH_FOLDER(test_jsonl),
        WITH_FOLDER(test_long_lines_and_files_cross_buffers),
        WITH_FOLDER(test_gz_of_several_members),
        WITH_FOLDER(test_folder_is_sorted_and_skips),
        WITH_FOLDER(test_documents_are_shuffled_by_seed),
        WITH_FOLDER(test_bad_paths),
        WITH_FOLDER(test_bad_jsonl),
        WITH_FOLDER(test_damaged_gz),
        WITH_FOLDER(test_damaged_jsonl_gz),
        WITH_FOLDER(test_damage_far_from_the_crc),
        WITH_FOLDER(test_training_never_sees_what_is_held_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
