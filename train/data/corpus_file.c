#include "train/data/corpus_parts.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <search.h>

#include "train/data/json_text.h"

enum { LARGEST_OBJECT = 64 << 20 }; /* it is in memory twice: as read and as tokens */

/* ---- objects of JSON ---- */

static const char *key_of(const loading *l) { return l->from->text_key ? l->from->text_key : "text"; }

/* the reason is in status_message() */
static status bad_line(loading *l) {
    i64 most = l->from->max_bad_lines;
    TRY(notes_add(&l->c->story->bad, "%s", status_message()));
    if (l->c->story->bad.count <= most) return STATUS_OK;
    if (most == 0) FAIL(DATA, "%s", status_message());
    FAIL(DATA, "%s: more than --max-bad-lines %ld bad lines; the first: %s", l->file.path, most,
         l->c->story->bad.first[0]);
}

/* must_parse: if it is not JSON, the whole file fails, and not only this line */
static status add_object(loading *l, json_text_place at, bool must_parse) {
    const char *text;
    bool is_json;
    i64 start = l->c->count;
    status_code st = json_text_get(&text, &is_json, l->line, l->line_bytes, key_of(l), at);
    if (st == STATUS_DATA && !is_json && must_parse)
        FAIL_DONE(DATA,
                  "%s: its first line is not a whole JSON object; expected one object per line, or an array of objects",
                  at.path);
    if (st == STATUS_DATA) TRY_DONE(bad_line(l));
    else TRY_DONE(st);
    if (text) TRY_DONE(corpus_add_bytes(l, text, strlen(text)));
    TRY_DONE(corpus_end_document(l, start));
done:
    l->line_bytes = 0;
    return st;
}

static status extend_line(loading *l, const char *text, size_t bytes) {
    size_t need = l->line_bytes + bytes + 1;
    if (need > LARGEST_OBJECT)
        FAIL(DATA, "%s: an object of more than %d MiB, expected one document in each object", l->file.path,
             LARGEST_OBJECT >> 20);
    if (need > l->line_capacity) {
        size_t capacity = l->line_capacity * 2 > need ? l->line_capacity * 2 : need;
        char *grown = realloc(l->line, capacity);
        if (!grown) FAIL(MEM, "%s: no memory for a line of %zu bytes", l->file.path, capacity);
        l->line = grown;
        l->line_capacity = capacity;
    }
    memcpy(l->line + l->line_bytes, text, bytes);
    l->line_bytes += bytes;
    l->line[l->line_bytes] = 0;
    return STATUS_OK;
}

/* ---- a file of each kind; the first chunk has been read ---- */

static status add_plain(loading *l, bool *no_text) {
    const text_file *f = &l->file;
    i64 start = l->c->count;
    while (f->chunk_bytes > 0) {
        const char *nul = memchr(f->chunk, 0, f->chunk_bytes);
        if (nul) {
            const char *like = f->bytes <= TEXT_FILE_CHUNK ? text_file_looks_like(f) : NULL;
            *no_text = true;
            FAIL(DATA, "%s: found a NUL byte at offset %ld, expected text%s%s", f->path,
                 f->bytes - (f->chunk + f->chunk_bytes - nul), like ? "; it looks like " : "", like ? like : "");
        }
        TRY(corpus_add_bytes(l, f->chunk, f->chunk_bytes));
        TRY(text_file_read(&l->file));
    }
    return corpus_end_document(l, start);
}

/* in concatenated files a line may begin with a byte-order mark */
static void drop_mark(loading *l) {
    if (l->line_bytes < 3 || memcmp(l->line, "\xef\xbb\xbf", 3)) return;
    l->line_bytes -= 3;
    memmove(l->line, l->line + 3, l->line_bytes + 1);
}

static status end_line(loading *l, json_text_place at, bool *must_parse) {
    drop_mark(l);
    if (json_text_blank(l->line, l->line_bytes)) {
        l->line_bytes = 0;
        return STATUS_OK;
    }
    TRY(add_object(l, at, *must_parse));
    *must_parse = false;
    return STATUS_OK;
}

static status add_lines(loading *l, bool must_parse) {
    const text_file *f = &l->file;
    json_text_place at = {.path = f->path, .number = 1};
    while (f->chunk_bytes > 0) {
        for (size_t used = 0; used < f->chunk_bytes;) {
            const char *from = f->chunk + used, *newline = memchr(from, '\n', f->chunk_bytes - used);
            size_t bytes = newline ? (size_t)(newline - from) : f->chunk_bytes - used;
            TRY(extend_line(l, from, bytes));
            used += bytes + 1;
            if (!newline) break;
            TRY(end_line(l, at, &must_parse));
            at.number++;
        }
        TRY(text_file_read(&l->file));
    }
    return l->line_bytes ? end_line(l, at, &must_parse) : STATUS_OK;
}

static status add_array(loading *l) {
    const text_file *f = &l->file;
    json_text_array a = {0};
    json_text_place at = {.path = f->path, .element = true, .number = 1};
    while (f->chunk_bytes > 0) {
        for (size_t used = 0, element; used < f->chunk_bytes;) {
            bool whole;
            const char *from = f->chunk + used;
            used += json_text_array_next(&a, from, f->chunk_bytes - used, &element, &whole);
            TRY(extend_line(l, from, element));
            if (!whole) continue;
            if (a.ended && at.number == 1 && json_text_blank(l->line, l->line_bytes)) continue; /* [] */
            TRY(add_object(l, at, false));
            at.number++;
        }
        TRY(text_file_read(&l->file));
    }
    if (!a.ended) FAIL(DATA, "%s: ends within element %ld, expected the ] of the array", f->path, at.number);
    if (a.behind) FAIL(DATA, "%s: found text after the ] of the array, expected the end", f->path);
    return STATUS_OK;
}

/* ---- which kind ---- */

/* for names without a known ending */
static bool first_line_has_text(loading *l) {
    const text_file *f = &l->file;
    const char *newline = memchr(f->chunk, '\n', f->chunk_bytes), *text = NULL;
    size_t bytes = newline ? (size_t)(newline - f->chunk) : f->chunk_bytes;
    bool is_json;
    if (!bytes || f->chunk[0] != '{' || extend_line(l, f->chunk, bytes)) return false;
    bool has =
        json_text_get(&text, &is_json, l->line, bytes, key_of(l), (json_text_place){f->path, false, 1}) == STATUS_OK;
    l->line_bytes = 0;
    return has;
}

static status choose_kind(loading *l, text_kind *kind) {
    const text_file *f = &l->file;
    if (text_file_named(f, ".json")) {
        size_t i = 0;
        while (i < f->chunk_bytes && json_text_blank(f->chunk + i, 1)) i++;
        char first = i < f->chunk_bytes ? f->chunk[i] : '{';
        if (first != '[' && first != '{')
            FAIL(DATA, "%s: begins with 0x%02x, expected JSON: an array of objects, or one object per line", f->path,
                 (unsigned char)first);
        *kind = first == '[' ? TEXT_JSON_ARRAY : TEXT_JSON_LINES;
    } else if (text_file_named(f, ".jsonl") || text_file_named(f, ".ndjson")) {
        *kind = TEXT_JSON_LINES;
    } else {
        bool says_text = text_file_named(f, ".txt") || text_file_named(f, ".text") || text_file_named(f, ".md");
        *kind = !says_text && first_line_has_text(l) ? TEXT_JSON_LINES : TEXT_PLAIN;
    }
    return STATUS_OK;
}

static status add_contents(loading *l, text_kind *kind, bool *no_text) {
    const text_file *f = &l->file;
    i64 documents = l->c->documents, bad = l->c->story->bad.count;
    l->line_bytes = 0;
    TRY(text_file_read(&l->file));
    const char *wide = text_file_wide(f);
    if (wide) {
        *no_text = true;
        FAIL(DATA, "%s: looks like %s, expected UTF-8; `iconv -f %s -t UTF-8` converts it", f->path, wide, wide);
    }
    TRY(choose_kind(l, kind));
    if (*kind == TEXT_PLAIN) return add_plain(l, no_text);
    if (*kind == TEXT_JSON_ARRAY) TRY(add_array(l));
    else TRY(add_lines(l, text_file_named(f, ".json")));
    bad = l->c->story->bad.count - bad;
    if (bad && l->c->documents == documents)
        FAIL(DATA, "%s: none of its %ld %s can be used; the last: %s", f->path, bad,
             *kind == TEXT_JSON_ARRAY ? "elements" : "lines", status_message());
    return STATUS_OK;
}

/* ---- the file ---- */

static int compare(const void *a, const void *b) { return memcmp(a, b, sizeof(ino_t[2])); }

/* whatever the path: a link, or a folder and a file in it */
static status note_twice(loading *l) {
    struct stat s;
    if (fstat(fileno(l->file.file), &s)) return STATUS_OK;
    ino_t *key = malloc(sizeof(ino_t[2])), **found;
    if (!key) FAIL(MEM, "%s: no memory", l->file.path);
    key[0] = (ino_t)s.st_dev, key[1] = s.st_ino;
    found = tsearch(key, &l->seen, compare);
    if (found && *found == key) return STATUS_OK;
    free(key);
    if (!found) FAIL(MEM, "%s: no memory", l->file.path);
    return notes_add(&l->c->story->twice, "%s", l->file.path);
}

static status add_opened(loading *l, bool *no_text) {
    const text_file *f = &l->file;
    corpus before = *l->c;
    text_kind kind = TEXT_PLAIN;
    status_code st = add_contents(l, &kind, no_text);
    if (st == STATUS_DATA && text_file_named(f, ".json") && l->c->documents == before.documents) *no_text = true;
    /* a damaged gzip stream looks like binary data or bad JSON before its crc is reached: report the damage instead */
    if (st == STATUS_DATA && f->gz) {
        status_code damage = text_file_drain(&l->file);
        if (damage) *no_text = false, st = damage;
    }
    TRY(st);
    TRY(note_twice(l));
    if (f->not_utf8_at >= 0)
        TRY(notes_add(&l->c->story->not_utf8,
                      "%s: byte 0x%02x at offset %ld is not UTF-8; it looks like latin-1 or another "
                      "one-byte encoding, and its bytes are used unchanged",
                      f->path, f->not_utf8, f->not_utf8_at));
    text_count_of_kind *k = &l->c->kinds[kind];
    k->files++;
    k->documents += l->c->documents - before.documents;
    k->tokens += l->c->count - before.count;
    return STATUS_OK;
}

status corpus_file_add(loading *l, const char *path, bool *no_text) {
    *no_text = false;
    TRY(text_file_open(&l->file, path));
    status_code st = add_opened(l, no_text);
    text_file_close(&l->file);
    return st;
}
