#include "runtime/path.h"
#include "runtime/text.h"
#include "train/data/corpus_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <search.h>
#include <zlib.h>

#include "runtime/rng.h"

/* ---- documents ---- */

static status_code too_large(const loading *l, i64 tokens) {
    FAIL(DATA,
         "%s: the text up to here needs %s of memory as tokens, but %s leaves %s of %s; use less text or more memory",
         l->file.path, text_bytes((double)tokens * sizeof *l->c->tokens).text, l->room.what,
         text_bytes((double)l->room.left).text, text_bytes((double)l->room.limit).text);
}

status corpus_add_bytes(loading *l, const char *text, size_t bytes) {
    corpus *c = l->c;
    i64 need = c->count + (i64)bytes + 1; /* 1: for the end-of-text */
    if (need > l->capacity) {
        i64 most = (i64)(l->room.left / sizeof *c->tokens);
        i64 capacity = l->capacity * 2 > need ? l->capacity * 2 : need;
        if (capacity > most) capacity = most;
        if (capacity < need) return too_large(l, need);
        uint16_t *grown = realloc(c->tokens, (size_t)capacity * sizeof *grown);
        if (!grown) FAIL(MEM, "%s: no memory for %ld tokens", l->file.path, capacity);
        c->tokens = grown;
        l->capacity = capacity;
    }
    uint16_t *to = c->tokens + c->count;
    for (size_t i = 0; i < bytes; i++) to[i] = (unsigned char)text[i];
    c->count += (i64)bytes;
    return STATUS_OK;
}

status corpus_end_document(loading *l, i64 start) {
    corpus *c = l->c;
    if (c->count == start) return STATUS_OK;
    if (c->documents == l->document_capacity) {
        i64 capacity = l->document_capacity ? l->document_capacity * 2 : 64;
        document *grown = realloc(l->documents, (size_t)capacity * sizeof *grown);
        if (!grown) FAIL(MEM, "%s: no memory for %ld documents", l->file.path, capacity);
        l->documents = grown;
        l->document_capacity = capacity;
    }
    c->bytes += c->count - start;
    c->tokens[c->count++] = TOKEN_END_OF_TEXT;
    l->documents[c->documents++] = (document){start, c->count - start};
    return STATUS_OK;
}

/* ---- files and folders ---- */

static status add_file(loading *l, const char *path, bool named) {
    corpus before = *l->c;
    i64 bad = l->c->story->bad.count;
    bool no_text;
    status_code st = corpus_file_add(l, path, &no_text);
    if (named || !no_text) return st;
    notes_cut(&l->c->story->bad, bad);
    l->c->count = before.count, l->c->documents = before.documents, l->c->bytes = before.bytes;
    return notes_add(&l->c->story->passed_over, "%s", status_message());
}

static int visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }
static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static status add_folder(loading *l, const char *path);

static status add_found(loading *l, const char *path) {
    struct stat self, target;
    if (lstat(path, &self)) FAIL(IO, "%s: %s", path, strerror(errno));
    bool link = S_ISLNK(self.st_mode);
    if (!link) target = self;
    else if (stat(path, &target)) return notes_add(&l->c->story->passed_over, "%s: a broken link", path);
    if (S_ISREG(target.st_mode)) return add_file(l, path, false);
    if (S_ISDIR(target.st_mode) && !link) return add_folder(l, path);
    return notes_add(&l->c->story->passed_over, "%s: %s", path,
                     link ? "a link to a folder" : "neither a file nor a folder");
}

static status add_folder(loading *l, const char *path) {
    struct dirent **entries;
    int count = scandir(path, &entries, visible, by_name);
    if (count < 0) FAIL(IO, "%s: %s, expected a readable folder", path, strerror(errno));
    status_code st = STATUS_OK;
    char *child = NULL;
    const char *slash = path_ends_with(path, "/") ? "" : "/";
    for (int i = 0; i < count; i++) {
        if (asprintf(&child, "%s%s%s", path, slash, entries[i]->d_name) < 0) {
            child = NULL;
            FAIL_DONE(MEM, "%s: no memory for a path", path);
        }
        TRY_DONE(add_found(l, child));
        free(child);
        child = NULL;
    }
done:
    free(child);
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return st;
}

static status add_named(loading *l, const char *path) {
    struct stat s;
    if (stat(path, &s)) FAIL(DATA, "%s: %s, expected a text file or a folder", path, strerror(errno));
    if (S_ISREG(s.st_mode)) return add_file(l, path, true);
    if (!S_ISDIR(s.st_mode))
        FAIL(DATA, "%s: found neither a file nor a folder, expected a text file or a folder", path);
    i64 documents = l->c->documents, passed_over = l->c->story->passed_over.count;
    TRY(add_folder(l, path));
    bool reason = l->c->story->passed_over.count > passed_over && passed_over < NOTES_KEPT;
    if (l->c->documents == documents)
        FAIL(DATA, "%s: found no text in this folder, expected at least one text file that is not empty%s%s", path,
             reason ? "; skipped: " : "", reason ? l->c->story->passed_over.first[passed_over] : "");
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

static status add_paths(loading *l) {
    const text_source *from = l->from;
    text_count_of_kind before[TEXT_KINDS];
    for (int i = 0; i < from->count; i++) {
        if (i <= STORY_PATHS) memcpy(before, l->c->kinds, sizeof before);
        TRY(add_named(l, from->paths[i]));
        corpus_story_path(l->c, i, before);
    }
    return STATUS_OK;
}

/* ---- the whole ---- */

status corpus_load(corpus *c, const text_source *from, double val_fraction, uint64_t seed) {
    *c = (corpus){0};
    const char *others = from->count > 1 ? " and the other paths" : "";
    if (from->count < 1) FAIL(ARG, "data: found no path, expected at least one file or folder");
    if (!(val_fraction >= 0 && val_fraction < 1))
        FAIL(ARG, "fraction to hold out: found %g, expected at least 0 and less than 1", val_fraction);
    loading *l = calloc(1, sizeof *l);
    if (!l) FAIL(MEM, "no memory for %zu bytes of the data", sizeof *l);
    l->c = c;
    l->from = from;
    status_code st = STATUS_OK;
    c->story = calloc(1, sizeof *c->story);
    if (!c->story) FAIL_DONE(MEM, "no memory for %zu bytes of the data", sizeof *c->story);
    c->story->from = *from;
    l->room = host_memory();
    l->room.left = l->room.left / 8 * 7 / (uint64_t)host_ranks(); /* the rest is for everything else */
    TRY_DONE(add_paths(l));
    c->bad_lines = l->c->story->bad.count;
    if (c->documents == 0)
        FAIL_DONE(DATA, "%s%s: found no text, expected at least one file that is not empty", from->paths[0], others);
    TRY_DONE(put_in_order(l, seed));
    c->train_count = c->count - (i64)((double)c->count * val_fraction);
    if (c->train_count < 2)
        FAIL_DONE(DATA, "%s%s: found %ld tokens, %ld of them to train on; expected at least 2 to train on",
                  from->paths[0], others, c->count, c->train_count);
    c->crc32 = (uint32_t)crc32_z(0, (const unsigned char *)c->tokens, (size_t)c->count * sizeof *c->tokens);
done:
    tdestroy(l->seen, free);
    free(l->documents);
    free(l->line);
    free(l);
    if (st) corpus_free(c);
    return st;
}

void corpus_free(corpus *c) {
    free(c->tokens);
    corpus_story_free(c->story);
    *c = (corpus){0};
}

bool corpus_val_batch(const corpus *c, i64 i, i64 B, i64 T, int32_t *tokens, int32_t *targets) {
    const uint16_t *held_out = c->tokens + c->train_count;
    i64 pairs = c->count - c->train_count - 1; /* of a token and the next */
    if (i * B * T >= pairs) return false;
    for (i64 k = 0; k < B * T; k++) {
        i64 at = i * B * T + k; /* windows lie end to end: row r of the batch begins T after row r - 1 */
        tokens[k] = at < pairs ? held_out[at] : TOKEN_END_OF_TEXT;
        targets[k] = at < pairs ? held_out[at + 1] : -1;
    }
    return true;
}
