/* Token files: what is written is read back, every flipped bit and every cut is found, and reading a large file keeps little of
 * it in memory. tests/test_tokenize.sh compares with a reader that was written from the description alone. */
#include "tests/text_folder.h"

#include <fcntl.h>

#include "runtime/file.h"
#include "train/data/shard.h"

static const shard_kind small = {.vocabulary = 257, .end_of_text = 256, .fingerprint = "bytes"};
static const shard_kind large = {.vocabulary = 128256, .end_of_text = 128001, .fingerprint = "bpe-128256-0badcafe"};

/* document i of a file: its length and tokens */
static i64 length_of(i64 i) { return 1 + (i64)rng_below(1, 1, (uint64_t)i, i % 50 ? 40 : 20000); }
static int32_t token_of(const shard_kind *kind, i64 at) {
    return (int32_t)rng_below(2, 2, (uint64_t)at, (uint64_t)kind->vocabulary);
}

static i64 write_documents(const char *path, const shard_kind *kind, i64 documents) {
    shard_writer *w;
    i64 count = 0;
    int32_t piece[1000];
    OK(shard_writer_open(&w, path, kind));
    for (i64 d = 0; d < documents; d++) {
        for (i64 left = length_of(d), n; left; left -= n) {
            n = left < 1000 ? left : 1000;
            for (i64 i = 0; i < n; i++) piece[i] = token_of(kind, count++);
            OK(shard_writer_add(w, piece, n));
        }
        OK(shard_writer_end(w, 3));
    }
    assert_int_equal(shard_writer_count(w), count);
    assert_int_equal(shard_writer_documents(w), documents);
    OK(shard_writer_close(w));
    return count;
}

static void check_tokens_of(shard *s, const shard_kind *kind, i64 first, i64 count) {
    int32_t *tokens = malloc((size_t)count * 4 + 1), most = 0;
    uint32_t found = shard_read(s, first, count, tokens);
    for (i64 i = 0; i < count; i++) {
        if (tokens[i] != token_of(kind, first + i)) fail_msg("token %d", (int)(first + i));
        most = tokens[i] > most ? tokens[i] : most;
    }
    assert_int_equal(found, most);
    free(tokens);
}

static void test_written_is_read(void **state) {
    (void)state;
    const shard_kind kinds[] = {small, large};
    for (int k = 0; k < 2; k++) {
        enum { DOCUMENTS = 3000 };
        shard s;
        i64 count = write_documents(in("a"), &kinds[k], DOCUMENTS);
        assert_true(count * 2 > SHARD_BLOCK); /* several blocks */
        assert_true(shard_is(in("a")));
        OK(shard_open(&s, in("a")));
        OK(shard_check(&s));
        assert_int_equal(s.count, count);
        assert_int_equal(s.documents, DOCUMENTS);
        assert_int_equal(s.bytes, 3 * DOCUMENTS);
        assert_int_equal(s.kind.vocabulary, kinds[k].vocabulary);
        assert_int_equal(s.kind.end_of_text, kinds[k].end_of_text);
        assert_string_equal(s.kind.fingerprint, kinds[k].fingerprint);
        check_tokens_of(&s, &kinds[k], 0, count);
        check_tokens_of(&s, &kinds[k], count - 1, 1);
        check_tokens_of(&s, &kinds[k], 777, 12345);
        for (i64 d = 0, at = 0; d <= DOCUMENTS; at += length_of(d++)) assert_int_equal(shard_document(&s, d), at);
        shard_close(&s);
        assert_int_equal(access(in("a.tmp"), F_OK), -1);
    }
}

/* against a walk from the first document on */
static void test_starts(void **state) {
    (void)state;
    enum { DOCUMENTS = 60, WINDOW = 100 };
    shard s;
    int32_t starts[WINDOW];
    i64 count = write_documents(in("a"), &small, DOCUMENTS), *of = malloc((size_t)count * sizeof *of);
    for (i64 d = 0, at = 0; d < DOCUMENTS; d++)
        for (i64 end = at + length_of(d), begin = at; at < end; at++) of[at] = begin;
    OK(shard_open(&s, in("a")));
    for (i64 first = 0; first + WINDOW <= count; first += 1 + first % 7) {
        shard_starts(&s, first, WINDOW, starts);
        for (i64 i = 0; i < WINDOW; i++) assert_int_equal(starts[i], of[first + i] > first ? of[first + i] - first : 0);
    }
    shard_close(&s);
    free(of);
}

static void put_llmc(const char *name, int32_t magic, int32_t version, int32_t count, const void *tokens,
                     size_t bytes) {
    char *file = calloc(1, 1024 + bytes);
    memcpy(file, (int32_t[]){magic, version, count}, 12);
    memcpy(file + 1024, tokens, bytes);
    put_bytes(name, file, 1024 + bytes);
    free(file);
}

static void test_llmc(void **state) {
    (void)state;
    shard s;
    int32_t tokens[6], starts[6];
    put_llmc("1", 20240520, 1, 6, (uint16_t[]){7, 50256, 1, 2, 50256, 3}, 12);
    put_llmc("7", 20240801, 7, 4, (uint32_t[]){128000, 100000, 128000, 5}, 16);
    OK(shard_open(&s, in("1")));
    OK(shard_check(&s));
    assert_int_equal(s.count, 6);
    assert_int_equal(s.documents, 0);
    assert_int_equal(s.kind.vocabulary, 0);
    assert_int_equal(shard_read(&s, 1, 5, tokens), 50256);
    assert_memory_equal(tokens, ((int32_t[]){50256, 1, 2, 50256, 3}), 20);
    shard_starts(&s, 0, 6, starts);
    assert_memory_equal(starts, ((int32_t[]){0, 1, 1, 1, 4, 4}), 24);
    shard_close(&s);
    OK(shard_open(&s, in("7")));
    assert_int_equal(shard_read(&s, 0, 4, tokens), 128000);
    assert_memory_equal(tokens, ((int32_t[]){128000, 100000, 128000, 5}), 16);
    shard_starts(&s, 1, 3, starts);
    assert_memory_equal(starts, ((int32_t[]){0, 1, 1}), 12);
    shard_close(&s);
    put_llmc("a", 20240520, 2, 0, "", 0);
    FAILS(DATA, "a: is an llm.c file of version 2, expected 1", shard_open(&s, in("a")));
    put_llmc("a", 20240520, 1, 6, "abcdefghijk", 11);
    FAILS(DATA, "a: is 1035 bytes long, expected 1036 for 6 tokens", shard_open(&s, in("a")));
    put_llmc("a", 20240520, 1, -1, "", 0);
    FAILS(DATA, "a: the header says -1 tokens", shard_open(&s, in("a")));
    put_llmc("a", 20240522, 1, 1, "", 0);
    FAILS(DATA, "a: is an llm.c file of multiple-choice questions, expected a token file", shard_open(&s, in("a")));
}

/* the samples that llm.c's own writer made are equal, byte for byte, to what is written here */
static void test_llmc_samples(void **state) {
    (void)state;
    static const struct {
        const char *path;
        i64 vocabulary, count;
    } samples[] = {{"../shared/data/llmc/tinyshakespeare_val.bin", 50257, 32768},
                   {"../shared/data/llmc/tinyshakespeare_llama3_first400.bin", 128256, 16326}};
    if (access(samples[0].path, R_OK)) skip();
    for (int i = 0; i < 2; i++) {
        shard s;
        shard_writer *w;
        char *theirs, *own;
        size_t bytes, own_bytes;
        const shard_kind kind = {.format = SHARD_LLMC, .vocabulary = samples[i].vocabulary, .end_of_text = -1};
        OK(shard_open(&s, samples[i].path));
        assert_int_equal(s.count, samples[i].count);
        int32_t *tokens = malloc((size_t)s.count * 4);
        assert_true(shard_read(&s, 0, s.count, tokens) < samples[i].vocabulary);
        OK(shard_writer_open(&w, in("copy"), &kind));
        OK(shard_writer_add(w, tokens, s.count));
        OK(shard_writer_end(w, 0));
        OK(shard_writer_close(w));
        OK(file_read(samples[i].path, &theirs, &bytes));
        OK(file_read(in("copy"), &own, &own_bytes));
        assert_int_equal(bytes, own_bytes);
        assert_memory_equal(own, theirs, bytes);
        free(tokens), free(theirs), free(own);
        shard_close(&s);
    }
}

static status_code open_and_check(const char *path) {
    shard s;
    TRY(shard_open(&s, path));
    status_code st = shard_check(&s);
    shard_close(&s);
    return st;
}

static void test_damage_is_found(void **state) {
    (void)state;
    enum { ROOM = 1 << 14 };
    static unsigned char good[ROOM];
    write_documents(in("good"), &small, 7);
    size_t bytes = get(in("good"), good, ROOM);
    assert_true(bytes > 1024 && bytes < ROOM);
    for (size_t cut = 0; cut < bytes; cut += cut < 1020 ? 101 : 1)
        FAILS(DATA, "a: is ", open_and_check(put_bytes("a", good, cut)));
    FAILS(DATA, "expected", open_and_check(put_bytes("a", good, bytes + 1)));
    for (size_t bit = 0; bit < 8 * bytes; bit += bit < 1024 ? 1 : 5) {
        good[bit / 8] ^= (unsigned char)(1 << bit % 8);
        FAILS(DATA, "a: ", open_and_check(put_bytes("a", good, bytes)));
        good[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    OK(open_and_check(put_bytes("a", good, bytes)));
}

static void test_bad_calls(void **state) {
    (void)state;
    shard s;
    shard_writer *w;
    FAILS(DATA, "missing: No such file", shard_open(&s, in("missing")));
    FAILS(DATA, "a: is 4 bytes long, expected a token file", shard_open(&s, put("a", "text")));
    char *text = long_text();
    FAILS(DATA, "a: is not a token file, neither of tally nor of llm.c", shard_open(&s, put("a", text)));
    assert_false(shard_is(in("a")) || shard_is(in("missing")) || shard_is(folder));
    free(text);
    OK(shard_writer_open(&w, in("b"), &small));
    FAILS(DATA, "b: token 257, expected 0 to 256", shard_writer_add(w, &(int32_t){257}, 1));
    FAILS(DATA, "b: token -1", shard_writer_add(w, &(int32_t){-1}, 1));
    FAILS(ARG, "b: document 0 has no token", shard_writer_end(w, 0));
    OK(shard_writer_add(w, &(int32_t){5}, 1));
    FAILS(ARG, "b: the last document was not ended", shard_writer_close(w));
    assert_int_equal(access(in("b"), F_OK), -1);
    assert_int_equal(access(in("b.tmp"), F_OK), -1);
    OK(shard_writer_open(&w, in("b"), &small)); /* no document at all */
    OK(shard_writer_close(w));
    OK(open_and_check(in("b")));
}

static long resident_kib(void) {
    long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) >> 10);
}

/* a sparse file of 4 GiB: windows all over it are read, and the resident set stays below a tenth of what was read */
static void test_reading_keeps_little_in_memory(void **state) {
    (void)state;
    enum { WINDOW = 1024, READS = 16384 };
    const i64 count = 1LL << 30;
    put_llmc("big", 20240801, 7, (int32_t)count, "", 0);
    assert_int_equal(truncate(in("big"), 1024 + 4 * count), 0);
    shard s;
    int32_t tokens[WINDOW];
    OK(shard_open(&s, in("big")));
    long before = resident_kib(), most = 0;
    for (i64 i = 0; i < READS; i++) {
        assert_int_equal(shard_read(&s, i * (count / READS), WINDOW, tokens), 0);
        if (i % 64 == 0 && resident_kib() > most) most = resident_kib();
    }
    shard_close(&s);
    if (most - before > 100 << 10) fail_msg("%ld KiB became resident", most - before);
}

int main(void) {
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_written_is_read),
        WITH_FOLDER(test_starts),
        WITH_FOLDER(test_llmc),
        WITH_FOLDER(test_llmc_samples),
        WITH_FOLDER(test_damage_is_found),
        WITH_FOLDER(test_bad_calls),
        WITH_FOLDER(test_reading_keeps_little_in_memory),
    };
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}
