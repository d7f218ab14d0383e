/* Documents as a stream: from every place that was given a second reading goes on to the same documents; templates; zstd. */
#include "tests/text_folder.h"

#include <zstd.h>

#include "train/data/documents.h"

/* the documents, each with '|' behind it, and the place behind each */
typedef struct {
    char text[1 << 16];
    size_t bytes;
    document_summary *d;
    document_place places[512];
    size_t ends[512];
    int count;
} told;

static status_code tell(void *context, const char *text, size_t bytes) {
    told *t = context;
    assert_true(t->bytes + bytes + 2 < sizeof t->text);
    memcpy(t->text + t->bytes, text, bytes);
    t->bytes += bytes;
    return STATUS_OK;
}

static status_code tell_end(void *context) {
    told *t = context;
    assert_true(t->count < 512);
    t->text[t->bytes++] = '|';
    t->text[t->bytes] = 0;
    t->places[t->count] = t->d->next;
    t->ends[t->count++] = t->bytes;
    return STATUS_OK;
}

static status_code read_from(told *t, document_summary *d, const text_source *from, document_place at) {
    memset(t, 0, sizeof *t);
    t->d = d;
    return documents_read_from(d, from, at, (document_sink){.context = t, .text = tell, .end = tell_end});
}

static const char *put_zst(const char *name, const char *text, bool twice) {
    static char packed[1 << 16];
    size_t bytes = ZSTD_compress(packed, sizeof packed, text, strlen(text), 3);
    assert_false(ZSTD_isError(bytes));
    if (twice) memcpy(packed + bytes, packed, bytes);
    return put_bytes(name, packed, twice ? 2 * bytes : bytes);
}

static const char lines[] = "{\"text\":\"a1\"}\nodd\n\n{\"text\":\"a\\n2\"}\n{\"text\":\"\"}\n{\"text\":\"a3\"}";
static const char array[] = "[{\"text\":\"b1\"}, {\"text\":\"b2\"} ,7, {\"text\":\"b3\"} ]\n";

static void put_every_kind(void) {
    put_folder("d");
    put("d/0.txt", "zero");
    put("d/1.jsonl", lines);
    put_gz("d/2.jsonl.gz", "wb", lines, sizeof lines - 1);
    put_zst("d/3.jsonl.zst", lines, false);
    put("d/4.json", array);
    put_zst("d/5.json.ZST", array, false);
    put("d/6", "six");
    put("d/7.jsonl", "\xef\xbb\xbf{\"text\":\"marked\"}\n{\"text\":\"last\"}\n");
}

static void test_every_place(void **state) {
    (void)state;
    put_every_kind();
    const char *paths[] = {in("d"), in("d/1.jsonl")};
    text_source from = {.paths = paths, .count = 2, .max_bad_lines = 100};
    document_summary d;
    told *whole = malloc(sizeof *whole), *rest = malloc(sizeof *rest);
    OK(read_from(whole, &d, &from, (document_place){0}));
    assert_string_equal(whole->text,
                        "zero|a1|a\n2|a3|a1|a\n2|a3|a1|a\n2|a3|b1|b2|b3|b1|b2|b3|six|marked|last|a1|a\n2|a3|");
    assert_int_equal(d.bad_lines, 6);
    documents_free(&d);
    for (int i = 0; i < whole->count; i++) {
        OK(read_from(rest, &d, &from, whole->places[i]));
        if (strcmp(rest->text, whole->text + whole->ends[i])) fail_msg("after document %d: %s", i, rest->text);
        assert_int_equal(d.bad_lines, 6);
        for (int k = 0; k < rest->count; k++)
            assert_memory_equal(&rest->places[k], &whole->places[i + 1 + k], sizeof(document_place));
        documents_free(&d);
    }
    from.max_bad_lines = 5; /* those before the place count */
    FAILS(DATA, "more than --max-bad-lines 5 bad lines", read_from(rest, &d, &from, whole->places[16]));
    put("d/1.jsonl", "{\"text\":\"a1\"}\n");
    FAILS(DATA, "it has become shorter", read_from(rest, &d, &from, whole->places[2]));
    free(whole), free(rest);
}

static void test_scan(void **state) {
    (void)state;
    put_folder("d");
    put("d/a.txt", "abc");
    put("d/b.jsonl", lines);
    put("d/.hidden", "no");
    const char *path = in("d");
    document_files f, changed;
    OK(documents_scan(&f, &(text_source){.paths = &path, .count = 1}));
    assert_int_equal(f.files, 2);
    assert_int_equal(f.bytes, 3 + sizeof lines - 1);
    put("d/a.txt", "abcd");
    OK(documents_scan(&changed, &(text_source){.paths = &path, .count = 1}));
    assert_int_not_equal(f.crc32, changed.crc32);
}

static void test_input(void **state) {
    (void)state;
    const char *path = "-";
    const text_source from = {.paths = &path, .count = 1, .max_bad_lines = 100, .input = true};
    const char *const files[] = {put("in", lines), put_gz("in.packed", "wb", lines, sizeof lines - 1),
                                 put_zst("in.zpacked", lines, false)};
    document_summary d;
    told *whole = malloc(sizeof *whole), *rest = malloc(sizeof *rest);
    for (int i = 0; i < 3; i++) {
        assert_non_null(freopen(files[i], "r", stdin));
        OK(read_from(whole, &d, &from, (document_place){0}));
        assert_string_equal(whole->text, "a1|a\n2|a3|");
        documents_free(&d);
        assert_non_null(freopen(files[i], "r", stdin));
        OK(read_from(rest, &d, &from, whole->places[1]));
        assert_string_equal(rest->text, "a3|");
        documents_free(&d);
        document_place other = whole->places[1];
        other.input_crc ^= 1;
        assert_non_null(freopen(files[i], "r", stdin));
        FAILS(DATA, "standard input: its first 35 bytes are not those of the last time",
              read_from(rest, &d, &from, other));
    }
    FAILS(DATA, "-: No such file", documents_read(&d, &(text_source){.paths = &path, .count = 1}, (document_sink){0}));
    free(whole), free(rest);
}

/* by the name of the file alone it could be plain text */
static void test_a_long_first_line(void **state) {
    (void)state;
    char *text = long_text(), *line = malloc(2 * LONG);
    int bytes = sprintf(line, "{\"id\":1,\"text\":\"%s\"}\n{\"text\":\"b\"}\n", text);
    corpus c;
    OK(load_one(&c, put_bytes("a", line, (size_t)bytes)));
    assert_int_equal(c.documents, 2);
    corpus_free(&c);
    bytes = sprintf(line, "{\"id\":1,\"body\":\"%s\"}\n", text);
    OK(load_one(&c, put_bytes("a", line, (size_t)bytes)));
    assert_int_equal(c.bytes, bytes);
    corpus_free(&c);
    free(text), free(line);
}

/* ---- templates ---- */

static void check_template(const char *template, const char *json, const char *expected) {
    const char *path = put("t.jsonl", json);
    told *t = malloc(sizeof *t);
    document_summary d;
    OK(read_from(t, &d, &(text_source){.paths = &path, .count = 1, .template = template}, (document_place){0}));
    assert_string_equal(t->text, expected);
    documents_free(&d);
    free(t);
}

static void refuse_template(const char *template, const char *message) {
    const char *path = put("t.jsonl", "{\"a\":\"1\"}");
    told *t = malloc(sizeof *t);
    document_summary d;
    status_code st =
        read_from(t, &d, &(text_source){.paths = &path, .count = 1, .template = template}, (document_place){0});
    assert_true(st == STATUS_ARG || st == STATUS_DATA);
    if (!strstr(status_message(), message)) fail_msg("%s: %s", template, status_message());
    free(t);
}

static void test_templates(void **state) {
    (void)state;
    check_template("{a}", "{\"a\":\"x\"}\n{\"a\":\"y\",\"b\":3}", "x|y|");
    check_template("Q: {q}\\nA: {a}\\t{{{q}}}\\\\", "{\"a\":\"\\\"no\\u00e9\\\"\",\"q\":\"a\\\\b\"}",
                   "Q: a\\b\nA: \"no\xc3\xa9\"\t{a\\b}\\|");
    check_template("{a}{b}", "{\"b\":\"\",\"a\":\"\"}\n{\"b\":\"2\",\"a\":\"1\"}", "12|");
    refuse_template("text", "--template: found no {KEY}");
    refuse_template("{a", "--template: found \"{a\"; expected {KEY}");
    refuse_template("{a}}", "--template: found \"}\"");
    refuse_template("{a}\\r", "--template: found \"\\r\"");
    refuse_template("{a}{}", "--template: found {}");
    refuse_template("{a}{b}", "t.jsonl:1: found no key \"b\" but \"a\"");
}

/* ---- zstd ---- */

static void test_zstd(void **state) {
    (void)state;
    unsigned char good[4096];
    char *text = long_text(), *packed = malloc(2 * LONG);
    check_one(put_zst("a.zst", "one", true), "oneone|");
    size_t bytes = ZSTD_compress(packed, 2 * LONG, text, LONG, 1);
    const char *path = put_bytes("long.zst", packed, bytes);
    corpus c;
    OK(load_one(&c, path));
    assert_int_equal(c.count, LONG + 1);
    for (i64 i = 0; i < LONG; i++)
        if (c.tokens[i] != text[i]) fail_msg("byte %d", (int)i);
    corpus_free(&c);
    bytes = get(put_zst("a.jsonl.zst", lines, false), good, sizeof good);
    for (size_t cut = 0; cut < bytes; cut++) FAILS(DATA, "zstd: ", load_one(&c, put_bytes("a.jsonl.zst", good, cut)));
    good[bytes] = 7;
    FAILS(DATA, "zstd: ", load_one(&c, put_bytes("a.jsonl.zst", good, bytes + 1)));
    FAILS(DATA, "zstd: Unknown frame descriptor", load_one(&c, put("b.zst", "plain text")));
    free(text), free(packed);
}

int main(void) {
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_every_place), WITH_FOLDER(test_scan),      WITH_FOLDER(test_a_long_first_line),
        WITH_FOLDER(test_input),       WITH_FOLDER(test_templates), WITH_FOLDER(test_zstd),
    };
    return cmocka_run_group_tests_name("documents", tests, NULL, NULL);
}
