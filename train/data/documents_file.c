#include "train/data/documents_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <search.h>
#include <zlib.h>

enum { LARGEST_OBJECT = 64 << 20 }; /* it is in memory at least once, as read */

/* ---- one document ---- */

static status add_text(reading *r, const char *text, size_t bytes) {
    if (!bytes) return STATUS_OK;
    r->d->bytes += (i64)bytes;
    return r->to.text(r->to.context, text, bytes);
}

static status end_document(reading *r) {
    if (r->d->bytes == r->start) return STATUS_OK;
    r->start = r->d->bytes;
    r->d->count++;
    r->d->next.bad_lines = r->begin.bad_lines + r->d->story->bad.count;
    return r->to.end(r->to.context);
}

/* ---- objects of JSON ---- */

/* the reading goes on within this file */
static bool is_resumed(const reading *r) { return r->d->next.file == r->begin.file && r->begin.bytes > 0; }

/* Standard input has no time or size by which a change is seen. */
static void sum_input(reading *r, size_t used) {
    if (!r->file.is_input || used <= r->summed) return;
    r->input_crc = (uint32_t)crc32_z(r->input_crc, (const unsigned char *)r->file.chunk + r->summed, used - r->summed);
    r->summed = used;
}

/* The next document begins behind `used` bytes of the chunk. */
static void set_next(reading *r, size_t used, i64 number) {
    sum_input(r, used);
    r->d->next.bytes = r->file.bytes - (i64)(r->file.chunk_bytes - used);
    r->d->next.number = number;
    r->d->next.input_crc = r->input_crc;
}

static status read_chunk(reading *r) {
    sum_input(r, r->file.chunk_bytes);
    TRY(text_file_read(&r->file));
    r->summed = 0;
    r->d->input_bytes = r->input_before + r->file.input_bytes;
    return STATUS_OK;
}

/* to the place within this file where the reading begins */
static status skip_text(reading *r) {
    const text_file *f = &r->file;
    document_place next = r->d->next;
    while (f->is_input && f->bytes < r->begin.bytes && f->chunk_bytes) TRY(read_chunk(r));
    if (f->is_input && f->bytes >= r->begin.bytes) set_next(r, f->chunk_bytes - (size_t)(f->bytes - r->begin.bytes), 0);
    if (f->is_input && (f->bytes < r->begin.bytes || r->input_crc != r->begin.input_crc))
        FAIL(DATA, "%s: its first %ld bytes are not those of the last time; expected the same text again", f->path,
             r->begin.bytes);
    r->d->next = next;
    TRY(text_file_skip_to(&r->file, r->begin.bytes));
    r->summed = 0;
    r->d->input_bytes = r->input_before + f->input_bytes;
    return STATUS_OK;
}

static const char *key_of(const reading *r) { return r->from->text_key ? r->from->text_key : "text"; }

/* the reason is in status_message() */
static status bad_line(reading *r) {
    i64 most = r->from->max_bad_lines;
    TRY(notes_add(&r->d->story->bad, "%s", status_message()));
    if (r->d->story->bad.count + r->begin.bad_lines <= most) return STATUS_OK;
    if (most == 0) FAIL(DATA, "%s", status_message());
    FAIL(DATA, "%s: more than --max-bad-lines %ld bad lines; the first: %s", r->file.path, most,
         r->d->story->bad.first[0]);
}

static status_code get_text(reading *r, const char **text, bool *is_json, json_text_place at) {
    if (!r->template.count) return json_text_get(text, is_json, r->line, r->line_bytes, key_of(r), at);
    return json_template_fill(text, is_json, &r->template, r->line, r->line_bytes, at);
}

/* must_parse: if it is not JSON, the whole file fails, and not only this line */
static status add_object(reading *r, json_text_place at, bool must_parse) {
    const char *text;
    bool is_json;
    status_code st = get_text(r, &text, &is_json, at);
    if (st == STATUS_DATA && !is_json && must_parse)
        FAIL_DONE(DATA,
                  "%s: its first line is not a whole JSON object; expected one object per line, or an array of objects",
                  at.path);
    if (st == STATUS_DATA) TRY_DONE(bad_line(r));
    else TRY_DONE(st);
    if (text) TRY_DONE(add_text(r, text, strlen(text)));
    TRY_DONE(end_document(r));
done:
    r->line_bytes = 0;
    return st;
}

static status extend_line(reading *r, const char *text, size_t bytes) {
    size_t need = r->line_bytes + bytes + 1;
    if (need > LARGEST_OBJECT)
        FAIL(DATA, "%s: an object of more than %d MiB, expected one document in each object", r->file.path,
             LARGEST_OBJECT >> 20);
    if (need > r->line_capacity) {
        size_t capacity = r->line_capacity * 2 > need ? r->line_capacity * 2 : need;
        char *grown = realloc(r->line, capacity);
        if (!grown) FAIL(MEM, "%s: no memory for a line of %zu bytes", r->file.path, capacity);
        r->line = grown;
        r->line_capacity = capacity;
    }
    memcpy(r->line + r->line_bytes, text, bytes);
    r->line_bytes += bytes;
    r->line[r->line_bytes] = 0;
    return STATUS_OK;
}

/* ---- a file of each kind; the first chunk has been read ---- */

static status check_nul(const text_file *f) {
    const char *nul = memchr(f->chunk, 0, f->chunk_bytes);
    if (!nul) return STATUS_OK;
    const char *like = f->bytes <= TEXT_FILE_CHUNK ? text_file_looks_like(f) : NULL;
    FAIL(DATA, "%s: found a NUL byte at offset %ld, expected text%s%s", f->path,
         f->bytes - (f->chunk + f->chunk_bytes - nul), like ? "; it looks like " : "", like ? like : "");
}

/* Reads a file that the user did not name to its end before the sink receives any of it: a NUL byte may be anywhere. */
static status check_all(reading *r) {
    text_file *f = &r->file;
    if (f->bytes < TEXT_FILE_CHUNK) return STATUS_OK; /* the chunk is all of it */
    while (f->chunk_bytes > 0) {
        TRY(check_nul(f));
        TRY(text_file_read(f));
    }
    text_file_rewind(f);
    f->chunk_bytes = 0;
    return read_chunk(r);
}

static status add_plain(reading *r, bool named, bool *no_text) {
    const text_file *f = &r->file;
    status_code st = named ? STATUS_OK : check_all(r);
    while (!st && f->chunk_bytes > 0) {
        st = check_nul(f);
        if (!st) st = add_text(r, f->chunk, f->chunk_bytes);
        if (!st) st = read_chunk(r);
    }
    *no_text = st == STATUS_DATA && r->d->bytes == r->start;
    TRY(st);
    r->d->next.file++; /* there is only one document */
    st = end_document(r);
    r->d->next.file--;
    return st;
}

/* in concatenated files a line may begin with a byte-order mark */
static void drop_mark(reading *r) {
    if (r->line_bytes < 3 || memcmp(r->line, "\xef\xbb\xbf", 3)) return;
    r->line_bytes -= 3;
    memmove(r->line, r->line + 3, r->line_bytes + 1);
}

static status end_line(reading *r, json_text_place at, bool *must_parse) {
    drop_mark(r);
    if (json_text_blank(r->line, r->line_bytes)) {
        r->line_bytes = 0;
        return STATUS_OK;
    }
    TRY(add_object(r, at, *must_parse));
    *must_parse = false;
    return STATUS_OK;
}

static status add_lines(reading *r, bool must_parse) {
    const text_file *f = &r->file;
    json_text_place at = {.path = f->path, .number = is_resumed(r) ? r->begin.number : 1};
    while (f->chunk_bytes > 0) {
        for (size_t used = 0; used < f->chunk_bytes;) {
            const char *from = f->chunk + used, *newline = memchr(from, '\n', f->chunk_bytes - used);
            size_t bytes = newline ? (size_t)(newline - from) : f->chunk_bytes - used;
            TRY(extend_line(r, from, bytes));
            used += bytes + 1;
            if (!newline) break;
            set_next(r, used, at.number + 1);
            TRY(end_line(r, at, &must_parse));
            at.number++;
        }
        TRY(read_chunk(r));
    }
    set_next(r, 0, at.number + 1);
    return r->line_bytes ? end_line(r, at, &must_parse) : STATUS_OK;
}

static status add_array(reading *r) {
    const text_file *f = &r->file;
    json_text_array a = {0};
    json_text_place at = {.path = f->path, .element = true, .number = 1};
    if (is_resumed(r)) a.depth = 1, at.number = r->begin.number;
    a.ended = is_resumed(r) && r->begin.number == 0;
    while (f->chunk_bytes > 0) {
        for (size_t used = 0, element; used < f->chunk_bytes;) {
            bool whole;
            const char *from = f->chunk + used;
            used += json_text_array_next(&a, from, f->chunk_bytes - used, &element, &whole);
            TRY(extend_line(r, from, element));
            if (!whole) continue;
            if (a.ended && at.number == 1 && json_text_blank(r->line, r->line_bytes)) continue; /* [] */
            set_next(r, used, a.ended ? 0 : at.number + 1);
            TRY(add_object(r, at, false));
            at.number++;
        }
        TRY(read_chunk(r));
    }
    if (!a.ended) FAIL(DATA, "%s: ends within element %ld, expected the ] of the array", f->path, at.number);
    if (a.behind) FAIL(DATA, "%s: found text after the ] of the array, expected the end", f->path);
    return STATUS_OK;
}

/* ---- which kind ---- */

/* A line that is longer than the chunk: an object that names the key, as far as is seen. */
static bool begins_with_key(const reading *r) {
    char quoted[256];
    int n = snprintf(quoted, sizeof quoted, "\"%s\"", r->template.count ? r->template.keys[0].name : key_of(r));
    return n < (int)sizeof quoted && memmem(r->file.chunk, r->file.chunk_bytes, quoted, (size_t)n);
}

/* for names without a known ending */
static bool first_line_has_text(reading *r) {
    const text_file *f = &r->file;
    const char *newline = memchr(f->chunk, '\n', f->chunk_bytes), *text;
    size_t bytes = newline ? (size_t)(newline - f->chunk) : f->chunk_bytes;
    bool is_json;
    if (!bytes || f->chunk[0] != '{') return false;
    if (!newline && f->chunk_bytes == TEXT_FILE_CHUNK) return begins_with_key(r);
    if (extend_line(r, f->chunk, bytes)) return false;
    bool has = get_text(r, &text, &is_json, (json_text_place){f->path, false, 1}) == STATUS_OK;
    r->line_bytes = 0;
    return has;
}

static status choose_kind(reading *r, text_kind *kind) {
    const text_file *f = &r->file;
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
        *kind = !says_text && first_line_has_text(r) ? TEXT_JSON_LINES : TEXT_PLAIN;
    }
    return STATUS_OK;
}

static status add_contents(reading *r, bool named, text_kind *kind, bool *no_text) {
    const text_file *f = &r->file;
    i64 documents = r->d->count, bad = r->d->story->bad.count;
    r->line_bytes = 0;
    r->input_before = r->d->input_bytes;
    r->summed = 0;
    r->input_crc = 0;
    TRY(read_chunk(r));
    const char *wide = text_file_wide(f);
    if (wide) {
        *no_text = true;
        FAIL(DATA, "%s: looks like %s, expected UTF-8; `iconv -f %s -t UTF-8` converts it", f->path, wide, wide);
    }
    TRY(choose_kind(r, kind));
    if (is_resumed(r)) TRY(skip_text(r));
    if (*kind == TEXT_PLAIN) return add_plain(r, named, no_text);
    if (*kind == TEXT_JSON_ARRAY) TRY(add_array(r));
    else TRY(add_lines(r, text_file_named(f, ".json") && !is_resumed(r)));
    bad = r->d->story->bad.count - bad;
    if (bad && r->d->count == documents && !is_resumed(r))
        FAIL(DATA, "%s: none of its %ld %s can be used; the last: %s", f->path, bad,
             *kind == TEXT_JSON_ARRAY ? "elements" : "lines", status_message());
    return STATUS_OK;
}

/* ---- the file ---- */

static int compare(const void *a, const void *b) { return memcmp(a, b, sizeof(ino_t[2])); }

/* whatever the path: a link, or a folder and a file in it */
static status note_twice(reading *r) {
    struct stat s;
    if (fstat(fileno(r->file.file), &s)) return STATUS_OK;
    ino_t *key = malloc(sizeof(ino_t[2])), **found;
    if (!key) FAIL(MEM, "%s: no memory", r->file.path);
    key[0] = (ino_t)s.st_dev, key[1] = s.st_ino;
    found = tsearch(key, &r->seen, compare);
    if (found && *found == key) return STATUS_OK;
    free(key);
    if (!found) FAIL(MEM, "%s: no memory", r->file.path);
    return notes_add(&r->d->story->twice, "%s", r->file.path);
}

static status add_opened(reading *r, bool named, bool *no_text) {
    const text_file *f = &r->file;
    document_summary before = *r->d;
    text_kind kind = TEXT_PLAIN;
    i64 tokens = r->to.tokens ? *r->to.tokens : 0;
    status_code st = add_contents(r, named, &kind, no_text);
    if (st == STATUS_DATA && text_file_named(f, ".json") && r->d->bytes == before.bytes && !is_resumed(r))
        *no_text = true;
    /* a damaged compressed stream looks like binary data or bad JSON before its checksum is reached: report the damage instead */
    if (st == STATUS_DATA && f->packing != TEXT_FILE_PLAIN) {
        status_code damage = text_file_drain(&r->file);
        if (damage) *no_text = false, st = damage;
    }
    TRY(st);
    TRY(note_twice(r));
    if (f->not_utf8_at >= 0)
        TRY(notes_add(&r->d->story->not_utf8,
                      "%s: byte 0x%02x at offset %ld is not UTF-8; it looks like latin-1 or another "
                      "one-byte encoding, and its bytes are used unchanged",
                      f->path, f->not_utf8, f->not_utf8_at));
    text_count_of_kind *k = &r->d->kinds[kind];
    k->files++;
    k->documents += r->d->count - before.count;
    k->bytes += r->d->bytes - before.bytes;
    if (r->to.tokens) k->tokens += *r->to.tokens - tokens;
    return STATUS_OK;
}

status documents_file_read(reading *r, const char *path, bool named, bool *no_text) {
    *no_text = false;
    r->d->path = path;
    if (strcmp(path, DOCUMENTS_INPUT)) TRY(text_file_open(&r->file, path));
    else TRY(text_file_open_input(&r->file, path));
    status_code st = add_opened(r, named, no_text);
    text_file_close(&r->file);
    return st;
}
