/* Shared by the tests of tokenizers: a folder with a tokenizer.json for each test, and its ids. */
#ifndef TALLY_TOKENIZER_FOLDER_H
#define TALLY_TOKENIZER_FOLDER_H

#include "tests/check.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "tests/tiny_tokenizer.h"
#include "train/data/tokenizer.h"

static char folder[64];

static inline const char *in(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline void put_bytes(const char *name, const char *text, size_t bytes) {
    FILE *f = fopen(in(name), "w");
    if (!f || fwrite(text, 1, bytes, f) != bytes || fclose(f)) fail_msg("cannot write %s", name);
}

static inline void put(const char *name, const char *text) { put_bytes(name, text, strlen(text)); }

static inline int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/tally-tokenizer-XXXXXX");
    return !mkdtemp(folder);
}

static inline int teardown(void **state) {
    (void)state;
    return durable_remove_folder(folder) != STATUS_OK;
}

static inline status_code try_text(tokenizer **t, char *text) {
    put("tokenizer.json", text);
    free(text);
    return tokenizer_open(t, in("tokenizer.json"));
}

static inline tokenizer *open_tiny(tiny_tokenizer how) {
    tokenizer *t;
    OK(try_text(&t, tiny_text(&how)));
    return t;
}

/* cut into parts of `part` bytes; 0: whole */
static inline void encode(token_list *ids, tokenizer_encoder *e, const char *text, size_t bytes, size_t part) {
    ids->count = 0;
    for (size_t at = 0; part && bytes - at > part; at += part) {
        OK(tokenizer_encode(e, ids, text, part, false));
        text += part, bytes -= part, at -= part;
    }
    OK(tokenizer_encode(e, ids, text, bytes, true));
}

static inline void check_ids(const tokenizer *t, bool special, const char *text, const int32_t *ids, i64 count) {
    tokenizer_encoder *e;
    OK(tokenizer_encoder_open(&e, t, special));
    for (size_t part = 0; part <= 4; part++) {
        token_list got = {0};
        encode(&got, e, text, strlen(text), part);
        for (i64 i = 0; i < got.count || i < count; i++)
            if (i >= got.count || i >= count || got.ids[i] != ids[i])
                fail_msg("\"%s\" in parts of %zu: %ld ids, expected %ld; id %ld is %d, expected %d", text, part,
                         got.count, count, i, i < got.count ? got.ids[i] : -1, i < count ? ids[i] : -1);
        token_list_free(&got);
    }
    tokenizer_encoder_close(e);
}
#define IDS(t, special, text, ...)                                                                                     \
    check_ids(t, special, text, (int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

#endif
