/* The kind of text of a file, by its name and first bytes, and the messages about bad lines and files. */
#include "tests/text_folder.h"

static const char lines[] = "{\"text\":\"one\",\"id\":1}\n{\"text\":\"two\"}\n";
static const char array[] =
    " [\n {\"text\": \"one\", \"tags\": [\"a]\", {\"b\": \"\\\"}\"}]},\n {\"text\":\"two\"} ]\n";
static const char pretty[] = "{\n  \"text\": \"one\"\n}\n";

/* two documents, "one" and "two", in either order */
static void check_two(const corpus *c) { check_tokens(c, c->tokens[0] == 'o' ? "one|two|" : "two|one|"); }

static void check_kind(const char *path, text_kind kind) {
    corpus c;
    OK(load_one(&c, path));
    check_two(&c);
    assert_int_equal(c.text.kinds[kind].files, 1);
    assert_int_equal(c.text.kinds[kind].documents, 2);
    assert_int_equal(c.text.kinds[kind].tokens, c.count);
    corpus_free(&c);
}

static void test_documents_by_every_name(void **state) {
    (void)state;
    static const char *const names[] = {"a.jsonl", "A.JSONL",    "a.ndjson", "a.Ndjson",
                                        "a.json",  "part-00000", "c4.dump"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char gz[64];
        snprintf(gz, sizeof gz, "%s.%s", names[i], i % 2 ? "GZ" : "gz");
        check_kind(put(names[i], lines), TEXT_JSON_LINES);
        check_kind(put_gz(gz, "wb", lines, sizeof lines - 1), TEXT_JSON_LINES);
    }
    check_kind(put("b.json", array), TEXT_JSON_ARRAY);
    check_kind(put_gz("b.JSON.gz", "wb", array, sizeof array - 1), TEXT_JSON_ARRAY);
    check_one(put("empty.json", " \n"), NULL);
    check_one(put("none.json", "[ ]"), NULL);
}

static void test_what_stays_plain(void **state) {
    (void)state;
    check_one(put("a.txt", "{\"text\":\"one\"}"), "{\"text\":\"one\"}|"); /* the name says text */
    check_one(put("README.MD", "{\"text\":\"one\"}"), "{\"text\":\"one\"}|");
    check_one(put("a.c", "{ int x; }\n"), "{ int x; }\n|");
    check_one(put("a.log", "{\"body\":\"one\"}\n"), "{\"body\":\"one\"}\n|");
    check_one(put("b.log", "[{\"text\":\"one\"}]"), "[{\"text\":\"one\"}]|");
}

static void test_json_without_documents(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {pretty, "a.json: its first line is not a whole JSON object; expected one object per line, or an array"},
        {"{\"vocab_size\": 257, \"n_layer\": 2}", "none of its 1 lines can be used; the last: "},
        {"[1, 2]", "none of its 2 elements can be used; the last: "},
        {"[{\"text\":\"on", "a.json: ends within element 1, expected the ] of the array"},
        {"\"text\"", "a.json: begins with 0x22, expected JSON: an array of objects, or one object per line"},
        {"plain", "a.json: begins with 0x70, expected JSON"},
    };
    put_folder("d");
    put("d/b.txt", "b");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        corpus c;
        const text_source leave_out = {.paths = (const char *const[]){in("a.json")}, .count = 1, .max_bad_lines = 100};
        put("a.json", cases[i].text);
        FAILS(DATA, cases[i].message, corpus_load(&c, &leave_out, 0, 1));
        put("d/a.json", cases[i].text);
        log_begin();
        status_code st = load_one(&c, in("d"));
        if (!st) documents_log(&c.text);
        const char *said = log_end();
        OK(st);
        check_tokens(&c, "b|");
        assert_int_equal(c.text.bad_lines, 0);
        if (!strstr(said, "data: skipped: ") || !strstr(said, "d/a.json")) fail_msg("%s", said);
        corpus_free(&c);
    }
    corpus c; /* damage after a document is an error in a folder too */
    put("d/a.json", "[{\"text\":\"one\"}, {\"te");
    FAILS(DATA, "a.json: ends within element 2, expected the ] of the array", load_one(&c, in("d")));
    put("d/a.json", "[{\"text\":\"one\"}] x");
    FAILS(DATA, "a.json: found text after the ] of the array", load_one(&c, in("d")));
    put("d/a.json", "[{\"text\":\"one\"}, {\"text\":\"two\"}}\n");
    FAILS(DATA, "a.json: ends within element 2, expected the ] of the array", load_one(&c, in("d")));
}

/* elements and their commas, strings and escapes on both sides of a buffer's end */
static void test_array_crosses_buffers(void **state) {
    (void)state;
    enum { ELEMENTS = 30011 };
    char *text = malloc(ELEMENTS * 64), *to = text;
    to += sprintf(to, "[");
    for (int i = 0; i < ELEMENTS; i++)
        to += sprintf(to, "%s{\"x\":[\"]\\\\\"],\"text\":\"%05d\\\"\"}\n", i ? "," : "", i);
    to += sprintf(to, "]");
    corpus c;
    OK(load_one(&c, put_bytes("a.json", text, (size_t)(to - text))));
    assert_int_equal(c.documents, ELEMENTS);
    bool *seen = calloc(ELEMENTS, sizeof *seen);
    for (int i = 0; i < ELEMENTS; i++) {
        int number = 0;
        for (int j = 0; j < 5; j++) number = number * 10 + c.tokens[7 * i + j] - '0';
        assert_true(number >= 0 && number < ELEMENTS && !seen[number] && c.tokens[7 * i + 5] == '"');
        seen[number] = true;
    }
    corpus_free(&c);
    free(seen);
    free(text);
}

static void test_marks_are_no_tokens(void **state) {
    (void)state;
    check_one(put("a.txt", "\xef\xbb\xbftext"), "text|");
    check_one(put_gz("a.gz", "wb", "\xef\xbb\xbftext", 7), "text|");
    check_one(put("only.txt", "\xef\xbb\xbf"), NULL);
    check_kind(put("a.json", "\xef\xbb\xbf[{\"text\":\"one\"},{\"text\":\"two\"}]"), TEXT_JSON_ARRAY);
    /* before a blank line, and between two concatenated files */
    check_kind(put("a.jsonl", "\xef\xbb\xbf\n{\"text\":\"one\"}\n\xef\xbb\xbf{\"text\":\"two\"}\n"), TEXT_JSON_LINES);
}

static void test_surrogates(void **state) {
    (void)state;
    static const struct {
        const char *escaped, *text;
    } cases[] = {
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
        {"\\ud83d", "\xef\xbf\xbd"},
        {"\\uDE00", "\xef\xbf\xbd"},
        {"\\ud83d\\ud83d\\ude00.", "\xef\xbf\xbd\xf0\x9f\x98\x80."},
        {"\\ud83d\\n\\ude00", "\xef\xbf\xbd\n\xef\xbf\xbd"},
        {"\\\\ud83d", "\\ud83d"},
        {"\\\\\\ud83d", "\\\xef\xbf\xbd"},
        {"\\ufffd", "\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[256];
        snprintf(json, sizeof json, "{\"text\":\"%s\"}", cases[i].escaped);
        corpus c;
        OK(load_one(&c, put("a.jsonl", json)));
        assert_int_equal(c.bytes, strlen(cases[i].text));
        for (i64 j = 0; j < c.bytes; j++) assert_int_equal(c.tokens[j], (unsigned char)cases[i].text[j]);
        corpus_free(&c);
    }
}

static status_code load_leaving(corpus *c, const char *path, const char *key, i64 most) {
    return corpus_load(c, &(text_source){.paths = &path, .count = 1, .text_key = key, .max_bad_lines = most}, 0, 1);
}

static void test_nul_only_matters_in_the_text(void **state) {
    (void)state;
    corpus c;
    check_one(put("a.jsonl", "{\"id\":\"a\\u0000b\",\"text\":\"x\\u0001\\\\u0000\"}"), "x\1\\u0000|");
    FAILS(DATA, ":1: found \\u0000 in \"text\"",
          load_one(&c, put("a.jsonl", "{\"id\":\"\\u0000\",\"text\":\"x\\u0000\"}")));
    FAILS(DATA, "column 2 (NUL byte in object key not supported)",
          load_one(&c, put("a.jsonl", "{\"text\\u0000\":\"x\"}")));
}

static void test_bad_lines_are_left_out(void **state) {
    (void)state;
    char text[4096] = "";
    for (int i = 0; i < 5; i++) strcat(text, "{\"text\":null}\n{\"text\":\"one\"}\nodd\n{\"content\":\"x\"}\n");
    const char *path = put("a.jsonl", text);
    corpus c;
    log_begin();
    status_code st = load_leaving(&c, path, NULL, 15);
    if (!st) documents_log(&c.text);
    const char *said = log_end();
    OK(st);
    check_tokens(&c, "one|one|one|one|one|");
    assert_int_equal(c.text.bad_lines, 15);
    if (!strstr(said, "a.jsonl:1: found \"text\" that is null") ||
        !strstr(said, "a.jsonl:3: found no valid JSON at column 1") ||
        !strstr(said, "a.jsonl:4: found no key \"text\" but \"content\"") || !strstr(said, "bad line: 15 in all") ||
        strstr(said, "a.jsonl:5: ") || !strstr(said, "a.jsonl: JSON lines, 1 file, documents: 5, tokens: 20"))
        fail_msg("%s", said);
    corpus_free(&c);
    FAILS(DATA, "more than --max-bad-lines 14 bad lines; the first: ", load_leaving(&c, path, NULL, 14));
    assert_non_null(strstr(status_message(), "a.jsonl:1: found \"text\" that is null"));
    FAILS(DATA, "a.jsonl:1: found \"text\" that is null, expected a string", load_leaving(&c, path, NULL, 0));
    OK(load_leaving(&c, path, "content", 15));
    check_tokens(&c, "x|x|x|x|x|");
    corpus_free(&c);
    /* no run trains on the few lines that are left */
    FAILS(DATA, "none of its 20 lines can be used; the last: ", load_leaving(&c, path, "body", 100));
    OK(load_leaving(&c, put("b.json", "[{\"text\":\"one\"},{\"text\":3},,tru,{\"text\":\"two\"},]"), NULL, 4));
    check_two(&c);
    assert_int_equal(c.text.bad_lines, 4);
    corpus_free(&c);
    /* a NUL byte costs its line; so does the end that is missing */
    OK(load_leaving(&c, put_bytes("c.jsonl", "{\"text\":\"one\"}\n\0\0\0\n{\"text\":\"two\"}\n{\"te", 39), NULL, 2));
    check_two(&c);
    assert_int_equal(c.text.bad_lines, 2);
    corpus_free(&c);
}

static void test_encodings_are_named(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *message;
        size_t count;
    } cases[] = {
        {"\xff\xfet\0e\0x\0t\0", "looks like UTF-16LE, expected UTF-8; `iconv -f UTF-16LE -t UTF-8` converts it", 10},
        {"\xfe\xff\0t\0e\0x\0t", "looks like UTF-16BE", 10},
        {"t\0e\0x\0t\0", "looks like UTF-16LE", 8},
        {"\0t\0e\0x\0t", "looks like UTF-16BE", 8},
        {"\xff\xfe\0\0t\0\0\0", "looks like UTF-32LE", 8},
        {"\x1f\x8b\x08\0abc", "found a NUL byte at offset 3, expected text; it looks like gzip", 7},
        {"PK\3\4\0abc", "found a NUL byte at offset 4, expected text; it looks like a zip archive", 8},
    };
    static const char *const names[] = {"a.txt", "a.jsonl", "a"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t j = 0; j < 3; j++) {
            corpus c;
            if (i > 4 && j == 1) continue; /* bad lines are the case there */
            FAILS(DATA, cases[i].message, load_one(&c, put_bytes(names[j], cases[i].bytes, cases[i].count)));
        }
}

/* bytes that are not UTF-8 are used unchanged, with a warning */
static void test_latin1_is_named(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int byte, offset; /* of the first byte that is not UTF-8; 0 where all are */
    } cases[] = {
        {"na\xefve", 0xef, 2},          {"caf\xe9", 0xe9, 3},          {"\x80", 0x80, 0},
        {"\xc0\xaf", 0xc0, 0},          {"a\xe0\x80\x80", 0xe0, 1},    {"\xed\xa0\x80", 0xed, 0},
        {"\xf5 abc", 0xf5, 0},          {"\xf4\x90\x80\x80", 0xf4, 0}, {"0123456789\xe2\x82", 0xe2, 10},
        {"caf\xc3\xa9", 0, 0},          {"\xf0\x9f\x98\x80", 0, 0},    {"\xef\xbf\xbd\xf4\x8f\xbf\xbf", 0, 0},
        {"\xef\xbb\xbfx\xe9", 0xe9, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[64];
        corpus c;
        put("a.txt", cases[i].text);
        log_begin();
        status_code st = load_one(&c, in("a.txt"));
        if (!st) documents_log(&c.text);
        const char *said = log_end();
        OK(st);
        corpus_free(&c);
        snprintf(expected, sizeof expected, "a.txt: byte 0x%02x at offset %d is not UTF-8", cases[i].byte,
                 cases[i].offset);
        if ((strstr(said, expected) != NULL) != (cases[i].byte != 0) || (strstr(said, "not UTF-8") && !cases[i].byte))
            fail_msg("case %d: %s", (int)i, said);
    }
}

/* nothing of such a file of a folder is used, wherever the byte is */
static void test_nul_at_the_end_of_a_long_file(void **state) {
    (void)state;
    char *text = long_text();
    text[LONG - 1] = 0;
    put_folder("d");
    put_bytes("d/a.txt", text, LONG);
    put_gz("d/b.txt.gz", "wb", text, LONG);
    put("d/c.txt", "one");
    check_one(in("d"), "one|");
    text[LONG - 1] = '.';
    put_bytes("d/a.txt", text, LONG);
    corpus c;
    OK(load_one(&c, in("d")));
    assert_int_equal(c.count, LONG + 1 + 4);
    corpus_free(&c);
    free(text);
}

static void test_padding_behind_gzip(void **state) {
    (void)state;
    enum { ZEROS = 700000 };
    unsigned char *file = calloc(1, ZEROS + 8192);
    size_t bytes = get(put_gz("a.jsonl.gz", "wb", lines, sizeof lines - 1), file, 4096);
    check_kind(put_bytes("a.jsonl.gz", file, bytes + 512), TEXT_JSON_LINES);
    check_kind(put_bytes("a.jsonl.gz", file, bytes + ZEROS), TEXT_JSON_LINES);
    file[bytes + 511] = 7;
    corpus c;
    char expected[128];
    snprintf(expected, sizeof expected,
             "found 0x07 at byte %d after the last gzip member; expected another member, zero bytes or the end",
             (int)bytes + 511);
    FAILS(DATA, expected, load_one(&c, put_bytes("a.jsonl.gz", file, bytes + 600)));
    /* a member behind the padding, as Python's gzip reads it */
    bytes = get(put_gz("b.gz", "wb", "one", 3), file, 4096);
    memset(file + bytes, 0, 512);
    size_t second = get(put_gz("b.gz", "wb", "two", 3), file + bytes + 100, 4096);
    check_one(put_bytes("b.gz", file, bytes + 100 + second), "onetwo|");
    free(file);
}

static void test_a_file_given_twice_is_said(void **state) {
    (void)state;
    put_folder("d");
    put("d/a.txt", "a");
    put("d/b.txt", "b");
    assert_int_equal(symlink("d/b.txt", in("link")), 0);
    const char *paths[] = {in("d"), in("d/a.txt"), in("link")};
    corpus c;
    log_begin();
    status_code st = load_strictly(&c, paths, 3, 0, 1);
    if (!st) documents_log(&c.text);
    const char *said = log_end();
    OK(st);
    assert_int_equal(c.documents, 4);
    corpus_free(&c);
    if (!strstr(said, "given more than once, and used each time: ") || !strstr(said, "d/a.txt\n") ||
        !strstr(said, "link\n"))
        fail_msg("%s", said);
    log_begin();
    st = load_one(&c, in("d"));
    if (!st) documents_log(&c.text);
    said = log_end();
    OK(st);
    corpus_free(&c);
    assert_null(strstr(said, "given more than once"));
}

/* as a shell's * gives the paths */
static void test_the_log_of_many_files_is_short(void **state) {
    (void)state;
    enum { FILES = 100 };
    char names[FILES][128];
    const char *paths[FILES];
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%03d", i);
        snprintf(names[i], sizeof names[i], "%s", put(name, "\xe9"));
        paths[i] = names[i];
    }
    corpus c;
    log_begin();
    status_code st = load_strictly(&c, paths, FILES, 0, 1);
    if (!st) documents_log(&c.text);
    const char *said = log_end();
    OK(st);
    corpus_free(&c);
    int newlines = 0;
    for (const char *p = said; (p = strchr(p, '\n')); p++) newlines++;
    if (newlines > 20 || !strstr(said, "data: 88 paths more: plain text, 88 files, documents: 88, tokens: 176"))
        fail_msg("%s", said);
}

int main(void) {
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_documents_by_every_name),       WITH_FOLDER(test_what_stays_plain),
        WITH_FOLDER(test_json_without_documents),        WITH_FOLDER(test_array_crosses_buffers),
        WITH_FOLDER(test_marks_are_no_tokens),           WITH_FOLDER(test_surrogates),
        WITH_FOLDER(test_nul_only_matters_in_the_text),  WITH_FOLDER(test_bad_lines_are_left_out),
        WITH_FOLDER(test_encodings_are_named),           WITH_FOLDER(test_latin1_is_named),
        WITH_FOLDER(test_nul_at_the_end_of_a_long_file), WITH_FOLDER(test_padding_behind_gzip),
        WITH_FOLDER(test_a_file_given_twice_is_said),    WITH_FOLDER(test_the_log_of_many_files_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
