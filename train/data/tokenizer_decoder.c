#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/data/byte_level.h"
#include "train/data/tokenizer_parts.h"

/* What the decoder does to each token, before it joins them. */
typedef struct {
    bool byte_level, byte_fallback, fused;
    char from[STEP_TEXT], to[STEP_TEXT]; /* "" or replaced */
} decoding;

static status read_strip(tokenizer *t, const json_t *o, const char *path, const decoding *d) {
    i64 start, stop;
    char content[8];
    TRY(json_get_string(o, path, "content", content, sizeof content));
    TRY(json_get_i64(o, path, "start", &start));
    TRY(json_get_i64(o, path, "stop", &stop));
    if (!d->fused || t->strip_space || strcmp(content, " ") != 0 || start != 1 || stop != 0)
        FAIL(DATA, "%s: the decoder \"Strip\" is not supported, except of one space at the start, after \"Fuse\"",
             path);
    t->strip_space = true;
    return STATUS_OK;
}

static status read_replace(const json_t *o, const char *path, decoding *d) {
    const char *from = json_string_or_null(json_find(json_find(o, "pattern"), "String"));
    if (*d->from || d->byte_fallback || d->fused || !from || !*from || strlen(from) >= STEP_TEXT)
        FAIL(DATA, "%s: the decoder \"Replace\" is not supported, except of one short String before the others", path);
    strcpy(d->from, from);
    return json_get_string(o, path, "content", d->to, sizeof d->to);
}

static status read_decoder(tokenizer *t, const json_t *o, const char *path, decoding *d) {
    size_t i;
    json_t *list, *item;
    const char *type = json_string_or_null(json_find(o, "type"));
    if (!type) FAIL(DATA, "%s: has no decoder, expected ByteLevel or a Sequence", path);
    if (strcmp(type, "Sequence") == 0) {
        TRY(json_get_array(o, path, "decoders", &list));
        json_array_foreach(list, i, item) TRY(read_decoder(t, item, path, d));
        return STATUS_OK;
    }
    if (strcmp(type, "Replace") == 0) return read_replace(o, path, d);
    if (strcmp(type, "Strip") == 0) return read_strip(t, o, path, d);
    if (strcmp(type, "Fuse") == 0) d->fused = true;
    else if (strcmp(type, "ByteFallback") == 0 && !d->fused) d->byte_fallback = true;
    else if (strcmp(type, "ByteLevel") == 0 && !d->fused && !d->byte_fallback && !*d->from) d->byte_level = true;
    else FAIL(DATA, "%s: the decoder \"%.40s\" is not supported%s", path, type, d->fused ? " after \"Fuse\"" : "");
    if (d->byte_level && (d->byte_fallback || *d->from))
        FAIL(DATA, "%s: the decoder \"ByteLevel\" is not supported beside others", path);
    return STATUS_OK;
}

static int fallback_byte(const char *name, size_t bytes) {
    unsigned byte;
    int length = 0;
    if (bytes != 6 || sscanf(name, "<0x%2x>%n", &byte, &length) != 1 || length != 6) return -1;
    return (int)byte;
}

static status write_token(const decoding *d, tokenizer_text *out, const char *name, size_t bytes) {
    size_t from = strlen(d->from);
    const char *end = name + bytes;
    if (d->byte_level) {
        char *room = malloc(bytes + 1);
        if (!room) FAIL(MEM, "no memory to decode tokens");
        long count = byte_level_read(room, name, bytes);
        status_code st = tokenizer_text_add(out, count < 0 ? name : room, count < 0 ? bytes : (size_t)count);
        free(room);
        return st;
    }
    int byte = d->byte_fallback ? fallback_byte(name, bytes) : -1;
    if (byte >= 0) return tokenizer_text_add(out, &(char){(char)byte}, 1);
    for (const char *found; from && (found = memmem(name, (size_t)(end - name), d->from, from)); name = found + from) {
        TRY(tokenizer_text_add(out, name, (size_t)(found - name)));
        TRY(tokenizer_text_add(out, d->to, strlen(d->to)));
    }
    return tokenizer_text_add(out, name, (size_t)(end - name));
}

status tokenizer_read_decoder(tokenizer *t, const json_t *decoder, const char *path) {
    decoding d = {0};
    if (decoder) TRY(read_decoder(t, decoder, path, &d));
    else if (!t->byte_level) FAIL(DATA, "%s: has no decoder, expected ByteLevel or a Sequence", path);
    d.byte_level |= !decoder; /* of GPT-2's two files */
    tokenizer_text all = {0};
    status_code st = STATUS_OK;
    t->written_at = calloc((size_t)t->tokens.size + 1, sizeof *t->written_at);
    if (!t->written_at) FAIL(MEM, "%s: no memory for its tokens", path);
    for (i64 id = 0; id < t->tokens.size; id++) {
        const char *name = tokenizer_name(t, (int32_t)id);
        if (name) TRY_DONE(write_token(&d, &all, name, vocabulary_bytes(&t->tokens, id)));
        t->written_at[id + 1] = all.bytes;
    }
    t->written = all.text;
    return STATUS_OK;
done:
    tokenizer_text_free(&all);
    return st;
}
