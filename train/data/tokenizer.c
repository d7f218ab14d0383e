#include "train/data/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/tokens.h"
#include "train/data/tokenizer_parts.h"

/* ---- the byte tokenizer ---- */

static status open_bytes(tokenizer *t) {
    static const char end_of_text[] = "<|endoftext|>";
    size_t end_bytes = sizeof end_of_text - 1;
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        TRY(vocabulary_add(&t->tokens, i, name, strlen(name)));
    }
    TRY(vocabulary_add(&t->tokens, TOKEN_END_OF_TEXT, end_of_text, end_bytes));
    t->special = calloc(BYTE_VOCABULARY, 1);
    t->written = malloc(256 + end_bytes);
    t->written_at = malloc((BYTE_VOCABULARY + 1) * sizeof *t->written_at);
    if (!t->special || !t->written || !t->written_at) FAIL(MEM, "no memory for the byte tokenizer");
    for (size_t i = 0; i < 256; i++) t->written[i] = (char)i, t->written_at[i] = i;
    memcpy(t->written + 256, end_of_text, end_bytes);
    t->written_at[256] = 256;
    t->written_at[257] = 256 + end_bytes;
    t->special[TOKEN_END_OF_TEXT] = 1;
    t->begin_of_text = t->after = -1;
    t->end_of_text = TOKEN_END_OF_TEXT;
    strcpy(t->fingerprint, "bytes");
    return STATUS_OK;
}

/* ---- any tokenizer ---- */

status tokenizer_open(tokenizer **t, const char *path) {
    *t = NULL;
    tokenizer *opened = calloc(1, sizeof *opened);
    if (!opened) FAIL(MEM, "no memory for a tokenizer");
    status_code st = path && strcmp(path, "bytes") != 0 ? tokenizer_open_path(opened, path) : open_bytes(opened);
    if (st == STATUS_OK) *t = opened;
    else tokenizer_close(opened);
    return st;
}

void tokenizer_close(tokenizer *t) {
    if (!t) return;
    for (int i = 0; i < t->step_count; i++) {
        free(t->steps[i].regex);
        pattern_close(t->steps[i].p);
    }
    added_tokens_free(&t->added);
    added_tokens_free(&t->added_normalized);
    bpe_close(t->model);
    vocabulary_free(&t->tokens);
    free(t->nfc);
    free(t->special);
    free(t->outside);
    free(t->written);
    free(t->written_at);
    free(t);
}

i64 tokenizer_size(const tokenizer *t) { return t->tokens.size; }

int32_t tokenizer_id(const tokenizer *t, const char *token) {
    return vocabulary_find(&t->tokens, token, strlen(token));
}

const char *tokenizer_name(const tokenizer *t, int32_t id) { return vocabulary_name(&t->tokens, id); }

bool tokenizer_is_special(const tokenizer *t, int32_t id) { return id >= 0 && id < t->tokens.size && t->special[id]; }

int32_t tokenizer_end_of_text(const tokenizer *t) { return t->end_of_text; }

int32_t tokenizer_begin_of_text(const tokenizer *t) { return t->begin_of_text; }

int32_t tokenizer_after_text(const tokenizer *t) { return t->after; }

const char *tokenizer_fingerprint(const tokenizer *t) { return t->fingerprint; }

int tokenizer_files(const tokenizer *t, path_text files[TOKENIZER_MOST_FILES]) {
    memcpy(files, t->files, (size_t)t->file_count * sizeof *files);
    return t->file_count;
}
