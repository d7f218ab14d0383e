/* Shared by the tests of the corpus: a folder of files for each test, and functions that load it. */
#ifndef TALLY_TEXT_FOLDER_H
#define TALLY_TEXT_FOLDER_H

#include "tests/check.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "train/data/loader.h"

/* ---- a folder of files for each test ---- */

static char folder[64];

static inline int setup(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tally_data_XXXXXX");
    return !mkdtemp(folder);
}

static inline int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

/* path of `name` in the folder; a few of them may be in use at once */
static inline const char *in(const char *name) {
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline const char *put_bytes(const char *name, const void *data, size_t bytes) {
    const char *path = in(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline const char *put(const char *name, const char *text) { return put_bytes(name, text, strlen(text)); }
static inline void put_folder(const char *name) { assert_int_equal(mkdir(in(name), 0777), 0); }

static inline const char *put_gz(const char *name, const char *mode, const void *data, size_t bytes) {
    const char *path = in(name);
    gzFile f = gzopen(path, mode);
    assert_non_null(f);
    assert_int_equal(gzwrite(f, data, (unsigned)bytes), bytes);
    assert_int_equal(gzclose(f), Z_OK);
    return path;
}

static inline size_t get(const char *path, unsigned char *data, size_t room) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t bytes = fread(data, 1, room, f);
    fclose(f);
    return bytes;
}

/* no bad line is accepted */
static inline status load_strictly(corpus *c, const char *const *paths, int count, double val_fraction, uint64_t seed) {
    return corpus_load(c, &(text_source){.paths = paths, .count = count}, val_fraction, seed);
}
static inline status load_one(corpus *c, const char *path) { return load_strictly(c, &path, 1, 0, 1); }

/* the tokens are `text`, where '|' stands for end-of-text */
static inline void check_tokens(const corpus *c, const char *text) {
    assert_int_equal(c->count, strlen(text));
    i64 documents = 0;
    for (i64 i = 0; i < c->count; i++) {
        assert_int_equal(c->tokens[i], text[i] == '|' ? TOKEN_END_OF_TEXT : text[i]);
        documents += text[i] == '|';
    }
    assert_int_equal(c->documents, documents);
    assert_int_equal(c->bytes, c->count - documents);
    assert_int_equal(c->crc32, crc32(0, (const unsigned char *)c->tokens, (unsigned)c->count * 2));
}

/* text: NULL where the file has none */
static inline void check_one(const char *path, const char *text) {
    corpus c;
    if (!text) {
        FAILS(DATA, "found no text, expected at least one file", load_one(&c, path));
        return;
    }
    OK(load_one(&c, path));
    check_tokens(&c, text);
    corpus_free(&c);
}

/* ---- the log: between the two calls standard error goes to a file; up to 4 KiB of its text are returned ---- */

static int stderr_before;
static inline void log_begin(void) {
    fflush(stderr);
    stderr_before = dup(STDERR_FILENO);
    assert_non_null(freopen(in("said"), "w", stderr));
}
static inline const char *log_end(void) {
    static char text[4096];
    fflush(stderr);
    dup2(stderr_before, STDERR_FILENO);
    close(stderr_before);
    memset(text, 0, sizeof text);
    get(in("said"), (unsigned char *)text, sizeof text - 1);
    unlink(in("said"));
    return text;
}

/* compressible and not, longer than any buffer of the reader */
enum { LONG = 700001 };
static inline char *long_text(void) {
    char *text = malloc(LONG + 1);
    for (i64 i = 0; i < LONG; i++) text[i] = (char)('a' + (i % 7 ? rng_below(3, 77, (uint64_t)i, 26) : 0));
    text[LONG] = 0;
    return text;
}

#endif
