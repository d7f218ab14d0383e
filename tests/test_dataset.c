/* Datasets: paths with and without weights, text in memory and as token files, and what is refused. */
#include "tests/text_folder.h"

#include "train/data/dataset.h"
#include "train/data/text_cache.h"

static status open_paths(dataset *d, const char *const *paths, int count, dataset_options o) {
    o.from.paths = paths;
    o.from.count = count;
    if (!o.threads) o.threads = 2;
    return dataset_open(d, &o);
}

/* of a path that is needed for longer than those of in() stay */
static const char *kept(const char *path) {
    static char paths[4][256];
    static int next;
    return strcpy(paths[next++ % 4], path);
}

/* documents of 1 to 40 letters, and one that is longer than a piece of the encoder's */
static void put_documents(const char *name, int documents, uint64_t seed) {
    char *text = malloc((size_t)documents * 80 + 2 * LONG), *at = text, *large = long_text();
    for (int d = 0; d < documents; d++) {
        at += sprintf(at, "{\"text\":\"");
        for (i64 i = 0, n = 1 + (i64)rng_below(seed, 1, (uint64_t)d, 40); i < n; i++)
            *at++ = (char)('a' + rng_below(seed, 2, (uint64_t)(100 * d + i), 26));
        if (d == documents / 2) at += sprintf(at, "%s", large);
        at += sprintf(at, "\"}\n");
    }
    put_bytes(name, text, (size_t)(at - text));
    free(text);
    free(large);
}

static int32_t *all_of(source *s) {
    int32_t *tokens = malloc((size_t)s->count * sizeof *tokens);
    OK(source_read(s, 0, s->count, tokens));
    return tokens;
}

/* ---- text as token files ---- */

/* Runs of earlier versions kept all text in memory: token files must hold the same tokens in the same order. */
static void test_files_of_text_are_the_text_in_memory(void **state) {
    (void)state;
    put_folder("text");
    put_documents("text/a.jsonl", 3000, 1);
    put("text/b.txt", "one document\n");
    put_documents("text/c.jsonl", 500, 2);
    const char *path = kept(in("text"));
    const char *cache = kept(in("cache"));
    for (uint64_t seed = 1; seed <= 3; seed++) {
        dataset memory, files, again;
        dataset_options o = {.val_fraction = 0.1, .seed = seed};
        OK(open_paths(&memory, &path, 1, o));
        assert_non_null(memory.sources->text);
        corpus c; /* as before there were datasets */
        OK(load_strictly(&c, &path, 1, 0.1, seed));
        assert_int_equal(memory.crc32, c.crc32);
        o.files = true;
        o.folder = cache;
        OK(open_paths(&files, &path, 1, o));
        assert_null(files.sources->text);
        assert_int_equal(files.crc32, c.crc32);
        assert_int_equal(files.train_tokens, c.train_count);
        assert_int_equal(files.documents, c.documents);
        assert_int_equal(files.bytes, c.bytes);
        assert_string_equal(files.fingerprint, "bytes");
        assert_true(files.sources->byte_text);
        int32_t *tokens = all_of(files.sources);
        for (i64 i = 0; i < c.count; i++) assert_int_equal(tokens[i], c.tokens[i]);
        free(tokens);
        /* the next time nothing is done */
        log_begin();
        status_code st = open_paths(&again, &path, 1, o);
        if (!st) dataset_log(&again);
        const char *said = log_end();
        OK(st);
        if (!strstr(said, "cache/text-0, which was made of this text before") || strstr(said, "JSON lines"))
            fail_msg("%s", said);
        assert_int_equal(again.crc32, c.crc32);
        dataset_close(&again);
        dataset_close(&files);
        dataset_close(&memory);
        corpus_free(&c);
    }
    assert_int_not_equal(access(in("cache/text-0.unshuffled"), F_OK), 0); /* nothing is left over */
    assert_int_not_equal(access(in("cache/text-0.tmp"), F_OK), 0);
}

static void test_another_text_is_noticed(void **state) {
    (void)state;
    const char *path = kept(put("a.txt", "some text"));
    dataset d;
    dataset_options o = {.files = true, .folder = kept(in("cache"))};
    OK(open_paths(&d, &path, 1, o));
    uint32_t crc = d.crc32;
    dataset_close(&d);
    put("a.txt", "some more text");
    OK(open_paths(&d, &path, 1, o));
    assert_int_equal(d.tokens, 15);
    assert_int_not_equal(d.crc32, crc);
    dataset_close(&d);
    /* what a killed process has left: other text, half a folder */
    put_folder("cache/text-0.tmp");
    put("cache/text-0.tmp/shard-000000.tok", "half");
    put_folder("cache/text-0.unshuffled");
    put("cache/text-0.unshuffled/tokenize.json", "{");
    put("a.txt", "a third text");
    OK(open_paths(&d, &path, 1, o));
    assert_int_equal(d.tokens, 13);
    dataset_close(&d);
    /* a damaged file is made again */
    put("cache/text-0/text.json", "{}");
    OK(open_paths(&d, &path, 1, o));
    assert_int_equal(d.tokens, 13);
    dataset_close(&d);
    /* without a folder, nothing stays on the disk */
    setenv("TMPDIR", folder, 1);
    OK(open_paths(&d, &path, 1, (dataset_options){.files = true}));
    int32_t *tokens = all_of(d.sources);
    assert_int_equal(tokens[12], TOKEN_END_OF_TEXT);
    free(tokens);
    dataset_close(&d);
    unsetenv("TMPDIR");
    char command[128];
    snprintf(command, sizeof command, "ls %s | grep -q tally-", folder);
    assert_int_not_equal(system(command), 0);
}

/* ---- weights ---- */

/* the end-of-text is in a file of its own */
static void test_another_end_of_text_is_noticed(void **state) {
    (void)state;
    const char *path = kept(put("a.txt", "abz")), *home = kept(in("tokenizer"));
    const char *cache = kept(in("cache"));
    put_folder("tokenizer");
    put("tokenizer/tokenizer.json",
        "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"c\":2},\"merges\":[]}}");
    for (int end = 1; end <= 2; end++) {
        dataset d;
        tokenizer *t;
        put("tokenizer/tokenizer_config.json", end == 1 ? "{\"eos_token\":\"b\"}" : "{\"eos_token\":\"c\"}");
        OK(tokenizer_open(&t, home));
        OK(open_paths(&d, &path, 1, (dataset_options){.tokenizer = t, .folder = cache}));
        int32_t *tokens = all_of(d.sources);
        assert_int_equal(d.tokens, 3);
        assert_int_equal(tokens[2], end);
        free(tokens);
        dataset_close(&d);
        tokenizer_close(t);
    }
    dataset d;
    tokenizer *t;
    put("tokenizer/tokenizer_config.json", "{}");
    put("a.txt", "zzz");
    OK(tokenizer_open(&t, home));
    FAILS(DATA, "a.txt: its text becomes no token with this tokenizer",
          open_paths(&d, &path, 1, (dataset_options){.tokenizer = t, .folder = cache}));
    tokenizer_close(t);
}

static void test_weights(void **state) {
    (void)state;
    char with[3][300];
    snprintf(with[0], 300, "%s:0.7", put("a", "first source"));
    snprintf(with[1], 300, "%s:3e-1", put("b", "second"));
    snprintf(with[2], 300, "%s", put("c:5", "a file of that name"));
    dataset d;
    dataset_options o = {0};
    const char *paths[] = {with[0], with[1]};
    OK(open_paths(&d, paths, 2, o));
    assert_int_equal(d.count, 2);
    assert_true(d.sources[0].weight == 0.7 && d.sources[1].weight == 0.3);
    assert_int_equal(d.tokens, 13 + 7);
    uint32_t crc = d.crc32;
    dataset_close(&d);
    snprintf(with[1], 300, "%s:0.4", in("b")); /* other weights are other data */
    OK(open_paths(&d, paths, 2, o));
    assert_int_not_equal(d.crc32, crc);
    dataset_close(&d);
    paths[0] = with[2];
    OK(open_paths(&d, paths, 1, o));
    assert_int_equal(d.tokens, 20);
    dataset_close(&d);
    const char *one_without[] = {with[0], with[2]};
    FAILS(ARG, "expected a weight for every path or for none", open_paths(&d, one_without, 2, o));
    static const char *const bad[] = {"0", "-1", "nan", "inf", "1e999", "1e30"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(with[0], 300, "%s:%s", in("a"), bad[i]);
        paths[0] = with[0];
        FAILS(ARG, "expected a number above 0", open_paths(&d, paths, 1, o));
    }
    snprintf(with[0], 300, "%s:0.5x", in("a")); /* not a number: part of the name */
    FAILS(DATA, "a:0.5x: No such file or directory, expected token files, a text file or a folder",
          open_paths(&d, paths, 1, o));
    paths[0] = ":1";
    FAILS(ARG, "--data :1: found no path", open_paths(&d, paths, 1, o));
    const char *many[MIX_SOURCES + 1];
    snprintf(with[0], 300, "%s:1", in("a"));
    for (int i = 0; i <= MIX_SOURCES; i++) many[i] = with[0];
    FAILS(ARG, "--data: 65 sources, expected at most 64", open_paths(&d, many, MIX_SOURCES + 1, o));
    OK(open_paths(&d, many, MIX_SOURCES, o));
    dataset_close(&d);
}

/* ---- folders and tokenizers ---- */

static void put_tokens(const char *name, const char *fingerprint, i64 vocabulary, int count) {
    shard_kind kind = {.vocabulary = vocabulary, .end_of_text = 0};
    snprintf(kind.fingerprint, sizeof kind.fingerprint, "%s", fingerprint);
    shard_writer *w;
    OK(shard_writer_open(&w, in(name), &kind));
    for (int32_t i = 0; i < count; i++) OK(shard_writer_add(w, &i, 1));
    OK(shard_writer_end(w, count));
    OK(shard_writer_close(w));
}

static void test_a_folder_of_token_files(void **state) {
    (void)state;
    put_folder("d");
    put_folder("d/sub");
    put_tokens("d/sub/a.tok", "bpe-300-1", 300, 10);
    put_tokens("d/b", "bpe-300-1", 300, 20);
    put_tokens("d/.hidden", "bpe-300-1", 300, 40);
    put_tokens("outside", "bpe-300-1", 300, 80);
    assert_int_equal(symlink("../outside", in("d/linked")), 0);
    assert_int_equal(symlink("..", in("d/loop")), 0);
    put("d/README", "not used");
    const char *path = kept(in("d"));
    dataset d;
    log_begin();
    status_code st = open_paths(&d, &path, 1, (dataset_options){0});
    if (!st) dataset_log(&d);
    const char *said = log_end();
    OK(st);
    if (!strstr(said,
                "3 token files, tokens: 110, tokenizer: bpe-300-1; other files in its folders, which are not used: 1"))
        fail_msg("%s", said);
    assert_int_equal(d.vocabulary, 300);
    assert_int_equal(d.sources->firsts[1], 20); /* b, linked, sub/a.tok */
    assert_int_equal(d.sources->firsts[2], 100);
    dataset_close(&d);
    put("d/tokenize.json", "{\"complete\": false}");
    FAILS(DATA, "d/tokenize.json: says that not all of the text is in token files yet",
          open_paths(&d, &path, 1, (dataset_options){0}));
    put("d/tokenize.json", "{\"complete\": true}");
    const char *both[] = {path, put("text", "text")};
    FAILS(ARG, "d holds token files, ", open_paths(&d, both, 2, (dataset_options){0}));
    tokenizer *bytes;
    OK(tokenizer_open(&bytes, NULL));
    FAILS(DATA, "holds tokens of the tokenizer \"bpe-300-1\", expected those of \"bytes\"",
          open_paths(&d, &path, 1, (dataset_options){.tokenizer = bytes}));
    tokenizer_close(bytes);
    char with[2][300];
    snprintf(with[0], 300, "%s:1", path);
    snprintf(with[1], 300, "%s:1", in("text"));
    const char *mixed[] = {with[0], with[1]};
    FAILS(DATA, "text: holds tokens of the tokenizer \"bytes\", but ", open_paths(&d, mixed, 2, (dataset_options){0}));
}

static void test_llmc(void **state) {
    (void)state;
    const char *path = "../shared/data/llmc/tinyshakespeare_val.bin";
    dataset d;
    if (access(path, F_OK)) skip();
    OK(open_paths(&d, &path, 1, (dataset_options){0}));
    assert_int_equal(d.tokens, 32768);
    assert_int_equal(d.vocabulary, 50257);
    assert_string_equal(d.fingerprint, "");
    int32_t *tokens = all_of(d.sources), *starts = malloc((size_t)d.tokens * 4);
    source_starts(d.sources, 0, d.tokens, starts);
    for (i64 i = 0, start = 0; i < d.tokens; i++) {
        if (tokens[i] == 50256) start = i;
        assert_int_equal(starts[i], start);
    }
    free(tokens);
    free(starts);
    dataset_close(&d);
}

int main(void) {
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_files_of_text_are_the_text_in_memory),
        WITH_FOLDER(test_another_text_is_noticed),
        WITH_FOLDER(test_another_end_of_text_is_noticed),
        WITH_FOLDER(test_weights),
        WITH_FOLDER(test_a_folder_of_token_files),
        cmocka_unit_test(test_llmc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
