#include "train/data/corpus.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "runtime/host.h"
#include "runtime/rng.h"
#include "runtime/text.h"

typedef struct {
    i64 start, count; /* in tokens, with its end-of-text */
} document;

/* The state of one corpus_load. */
typedef struct {
    corpus *c;
    i64 capacity;   /* tokens */
    host_room room; /* for the tokens, at the start; this rank's part of it */
    document *documents;
    i64 document_capacity;
    i64 start; /* of the current document */
} loading;

/* ---- documents ---- */

static status_code too_large(const loading *l, i64 tokens) {
    FAIL(DATA,
         "%s: the text up to here needs %s of memory as tokens, but %s leaves %s of %s; use less text or more memory",
         l->c->text.path, text_bytes((double)tokens * sizeof *l->c->tokens).text, l->room.what,
         text_bytes((double)l->room.left).text, text_bytes((double)l->room.limit).text);
}

static status_code add_bytes(void *context, const char *text, size_t bytes) {
    loading *l = context;
    corpus *c = l->c;
    i64 need = c->count + (i64)bytes + 1; /* 1: for the end-of-text */
    if (need > l->capacity) {
        i64 most = (i64)(l->room.left / sizeof *c->tokens);
        i64 capacity = l->capacity * 2 > need ? l->capacity * 2 : need;
        if (capacity > most) capacity = most;
        if (capacity < need) return too_large(l, need);
        uint16_t *grown = realloc(c->tokens, (size_t)capacity * sizeof *grown);
        if (!grown) FAIL(MEM, "%s: no memory for %ld tokens", l->c->text.path, capacity);
        c->tokens = grown;
        l->capacity = capacity;
    }
    uint16_t *to = c->tokens + c->count;
    for (size_t i = 0; i < bytes; i++) to[i] = (unsigned char)text[i];
    c->count += (i64)bytes;
    return STATUS_OK;
}

static status_code end_document(void *context) {
    loading *l = context;
    corpus *c = l->c;
    if (c->documents == l->document_capacity) {
        i64 capacity = l->document_capacity ? l->document_capacity * 2 : 64;
        document *grown = realloc(l->documents, (size_t)capacity * sizeof *grown);
        if (!grown) FAIL(MEM, "%s: no memory for %ld documents", l->c->text.path, capacity);
        l->documents = grown;
        l->document_capacity = capacity;
    }
    c->bytes += c->count - l->start;
    c->tokens[c->count++] = TOKEN_END_OF_TEXT;
    l->documents[c->documents++] = (document){l->start, c->count - l->start};
    l->start = c->count;
    return STATUS_OK;
}

/* ---- the corpus ---- */

/* Has the tokens in memory twice for a moment, 4 bytes a token in all. A single document is not copied. */
static status put_in_order(loading *l, uint64_t seed) {
    corpus *c = l->c;
    document *d = l->documents;
    for (i64 i = c->documents - 1; i > 0; i--) {
        i64 j = (i64)rng_below(seed, RNG_ORDER, (uint64_t)i, (uint64_t)i + 1);
        document swapped = d[i];
        d[i] = d[j];
        d[j] = swapped;
    }
    if (c->documents == 1) {
        uint16_t *shrunk = realloc(c->tokens, (size_t)c->count * sizeof *shrunk);
        if (shrunk) c->tokens = shrunk;
        return STATUS_OK;
    }
    if (c->count > (i64)(l->room.left / sizeof *c->tokens) / 2) return too_large(l, 2 * c->count);
    uint16_t *ordered = malloc((size_t)c->count * sizeof *ordered), *to = ordered;
    if (!ordered) FAIL(MEM, "no memory for a text of %ld tokens", c->count);
    for (i64 i = 0; i < c->documents; to += d[i++].count)
        memcpy(to, c->tokens + d[i].start, (size_t)d[i].count * sizeof *to);
    free(c->tokens);
    c->tokens = ordered;
    return STATUS_OK;
}

/* ---- the whole ---- */

status corpus_load(corpus *c, const text_source *from, double val_fraction, uint64_t seed) {
    *c = (corpus){0};
    const char *others = from->count > 1 ? " and the other paths" : "";
    if (!(val_fraction >= 0 && val_fraction < 1))
        FAIL(ARG, "fraction to hold out: found %g, expected at least 0 and less than 1", val_fraction);
    loading *l = calloc(1, sizeof *l);
    if (!l) FAIL(MEM, "no memory for %zu bytes of the data", sizeof *l);
    l->c = c;
    status_code st = STATUS_OK;
    l->room = host_memory();
    l->room.left = l->room.left / 8 * 7 / (uint64_t)host_ranks(); /* the rest is for everything else */
    document_sink to = {.context = l, .text = add_bytes, .end = end_document, .tokens = &c->count};
    TRY_DONE(documents_read(&c->text, from, to));
    TRY_DONE(put_in_order(l, seed));
    c->train_count = c->count - (i64)((double)c->count * val_fraction);
    if (c->train_count < 2)
        FAIL_DONE(DATA, "%s%s: found %ld tokens, %ld of them to train on; expected at least 2 to train on",
                  from->paths[0], others, c->count, c->train_count);
    c->crc32 = (uint32_t)crc32_z(0, (const unsigned char *)c->tokens, (size_t)c->count * sizeof *c->tokens);
done:
    free(l->documents);
    free(l);
    if (st) corpus_free(c);
    return st;
}

void corpus_free(corpus *c) {
    free(c->tokens);
    documents_free(&c->text);
    *c = (corpus){0};
}
