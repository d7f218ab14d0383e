#include "train/data/source.h"

#include <stdlib.h>
#include <zlib.h>

/* Each read maps at least 64 KiB of a file, which shard.h drops file by file; of thousands of files that is too much. */
enum { DROP_AFTER_READS = 1024, END_TOKENS = 2048 };

source source_of_corpus(const corpus *c, const char *name) {
    return (source){.name = name,
                    .weight = 1,
                    .count = c->count,
                    .train_count = c->train_count,
                    .documents = c->documents,
                    .bytes = c->bytes,
                    .crc32 = c->crc32,
                    .byte_text = true,
                    .vocabulary = BYTE_VOCABULARY,
                    .fingerprint = "bytes",
                    .end_of_text = TOKEN_END_OF_TEXT,
                    .text = c->tokens};
}

/* ---- token files ---- */

static status check_same_kind(const shard *a, const shard *b) {
    const shard_kind *x = &a->kind, *y = &b->kind;
    if (x->format != y->format || x->vocabulary != y->vocabulary || x->end_of_text != y->end_of_text ||
        a->separator != b->separator || strcmp(x->fingerprint, y->fingerprint) != 0)
        FAIL(DATA,
             "%s: has tokens of \"%s\", %ld in its vocabulary, but %s has tokens of \"%s\", %ld; expected token files "
             "of "
             "the same tokenizer in one source",
             b->path.text, y->fingerprint, y->vocabulary, a->path.text, x->fingerprint, x->vocabulary);
    return STATUS_OK;
}

static uint32_t ends_crc(shard *f) {
    int32_t tokens[END_TOKENS];
    i64 n = f->count < END_TOKENS ? f->count : END_TOKENS;
    shard_read(f, 0, n, tokens);
    uint32_t crc = (uint32_t)crc32_z(0, (const unsigned char *)tokens, (size_t)n * sizeof *tokens);
    shard_read(f, f->count - n, n, tokens);
    return (uint32_t)crc32_z(crc, (const unsigned char *)tokens, (size_t)n * sizeof *tokens);
}

static void add_file(source *s, shard *f) {
    bool llmc = f->kind.format == SHARD_LLMC;
    const uint64_t card[] = {(uint64_t)f->count, llmc ? ends_crc(f) : f->sums_crc};
    s->crc32 = (uint32_t)crc32_z(s->crc32, (const unsigned char *)card, sizeof card);
    s->firsts[s->file_count++] = s->count;
    s->count += f->count;
    s->documents += f->documents;
    s->bytes += f->bytes;
}

status source_open(source *s, const char *name, char *const *paths, int count) {
    *s = (source){.name = name, .weight = 1};
    s->files = calloc((size_t)count, sizeof *s->files);
    s->firsts = calloc((size_t)count + 1, sizeof *s->firsts);
    status_code st = STATUS_OK;
    if (!s->files || !s->firsts) FAIL_DONE(MEM, "%s: no memory for %d token files", name, count);
    for (int i = 0; i < count; i++) {
        shard *f = &s->files[i];
        TRY_DONE(shard_open(f, paths[i]));
        add_file(s, f);
        TRY_DONE(check_same_kind(s->files, f));
    }
    s->firsts[count] = s->count;
    const shard *f = s->files;
    memcpy(s->fingerprint, f->kind.fingerprint, sizeof s->fingerprint);
    s->end_of_text = f->kind.end_of_text < 0 ? f->separator : f->kind.end_of_text;
    s->vocabulary = f->kind.vocabulary ? f->kind.vocabulary : s->end_of_text + 1;
done:
    if (st) source_close(s);
    return st;
}

void source_close(source *s) {
    for (int i = 0; i < s->file_count; i++) shard_close(&s->files[i]);
    free(s->files);
    free(s->firsts);
    *s = (source){0};
}

static int file_of(const source *s, i64 token) {
    int low = 0, high = s->file_count; /* it is in [low, high) */
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (s->firsts[middle] <= token) low = middle;
        else high = middle;
    }
    return low;
}

static void drop_pages(source *s) {
    if (__atomic_add_fetch(&s->reads, 1, __ATOMIC_RELAXED) % DROP_AFTER_READS) return;
    for (int i = 0; i < s->file_count; i++) shard_drop(&s->files[i]);
}

/* ---- reading ---- */

status source_hold_out(source *s, double fraction) {
    s->train_count = s->count - (i64)((double)s->count * fraction);
    if (s->train_count < 2)
        FAIL(DATA, "%s: found %ld tokens, %ld of them to train on; expected at least 2 to train on", s->name, s->count,
             s->train_count);
    return STATUS_OK;
}

static status check_tokens(const source *s, const int32_t *tokens, i64 first, i64 count) {
    for (i64 i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= s->most)
            FAIL(DATA, "%s: token %ld is %u, expected 0 to %ld: the model's vocabulary", s->name, first + i,
                 (uint32_t)tokens[i], s->most - 1);
    return STATUS_OK;
}

status source_read(source *s, i64 first, i64 count, int32_t *out) {
    if (s->text)
        for (i64 i = 0; i < count; i++) out[i] = s->text[first + i];
    for (i64 done = 0; !s->text && done < count;) {
        int f = file_of(s, first + done);
        i64 at = first + done - s->firsts[f], there = s->files[f].count - at;
        i64 n = there < count - done ? there : count - done;
        shard_read(&s->files[f], at, n, out + done);
        drop_pages(s);
        done += n;
    }
    return s->most ? check_tokens(s, out, first, count) : STATUS_OK;
}

/* A document of llm.c may continue in the next file. */
static bool begins_document(shard *f) {
    int32_t token;
    if (f->separator < 0) return true;
    shard_read(f, 0, 1, &token);
    return token == f->separator;
}

void source_starts(source *s, i64 first, i64 count, int32_t *starts) {
    int32_t start = 0;
    for (i64 i = 0; s->text && i < count; i++) {
        starts[i] = start;
        if (s->text[first + i] == s->end_of_text) start = (int32_t)i + 1;
    }
    for (i64 done = 0; !s->text && done < count;) {
        int f = file_of(s, first + done);
        i64 at = first + done - s->firsts[f], there = s->files[f].count - at;
        i64 n = there < count - done ? there : count - done;
        shard_starts(&s->files[f], at, n, starts + done);
        int32_t before = done && at == 0 && !begins_document(&s->files[f]) ? starts[done - 1] : (int32_t)done;
        for (i64 i = done; i < done + n; i++) starts[i] = starts[i] ? starts[i] + (int32_t)done : before;
        done += n;
    }
}

i64 source_windows(const source *s, i64 T) { return s->train_count > T ? (s->train_count - 1) / T : 0; }

static i64 held_out_pairs(const source *s) { return s->count - s->train_count - 1; } /* of a token and the next */

i64 source_held_out_batches(const source *s, i64 B, i64 T) {
    i64 pairs = held_out_pairs(s);
    return pairs > 0 ? (pairs + B * T - 1) / (B * T) : 0;
}

status source_held_out(source *s, i64 i, source_batch b) {
    /* windows lie end to end: row r of the batch begins T after row r - 1 */
    i64 n = b.B * b.T, first = i * n, left = held_out_pairs(s) - first, there = left < n ? left : n;
    TRY(source_read(s, s->train_count + first, there, b.tokens));
    TRY(source_read(s, s->train_count + first + 1, there, b.targets));
    for (i64 k = there; k < n; k++) b.tokens[k] = s->end_of_text < 0 ? 0 : s->end_of_text, b.targets[k] = -1;
    if (!b.starts) return STATUS_OK;
    for (i64 k = 0; k < n; k += b.T) {
        i64 here = there - k < b.T ? there - k : b.T;
        if (here > 0) source_starts(s, s->train_count + first + k, here, b.starts + k);
        for (i64 t = here > 0 ? here : 0; t < b.T; t++) b.starts[k + t] = (int32_t)t;
    }
    return STATUS_OK;
}
