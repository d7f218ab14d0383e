#include "train/data.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>
#include <zlib.h>

#include "runtime/host.h"
#include "runtime/log.h"
#include "runtime/rng.h"

enum { CHUNK_BYTES = 1 << 18 };

typedef struct {
    i64 start, count; /* in tokens, its end-of-text included */
} document;

/* One corpus_load. Only a chunk of a file, or a line of it, is ever held as text. */
typedef struct {
    corpus *c;
    i64 capacity; /* tokens */
    host_room room; /* for them, as of the beginning; of ranks that share it, this one's part */
    document *documents;
    i64 document_capacity;
    char *line; /* of a .jsonl file, as far as it has been read */
    size_t line_bytes, line_capacity;
    i64 skipped;
    char *first_skipped;
    /* the file being read */
    const char *path;
    FILE *file;
    bool gz, gz_whole; /* gz_whole: what has been read ends with the end of a gzip member */
    z_stream z;
    i64 file_bytes; /* of its text, so far */
    size_t chunk_bytes;
    char chunk[CHUNK_BYTES];
    unsigned char compressed[CHUNK_BYTES];
} loading;

static bool ends_with(const char *text, size_t n, const char *end) {
    size_t m = strlen(end);
    return n >= m && !memcmp(text + n - m, end, m);
}

/* ---- bytes of a file ---- */

static status open_file(loading *l, const char *path) {
    l->path = path;
    l->file_bytes = 0;
    l->gz = ends_with(path, strlen(path), ".gz");
    l->gz_whole = false;
    l->file = fopen(path, "rb");
    if (!l->file) FAIL(IO, "%s: %s, expected a readable file", path, strerror(errno));
    l->z = (z_stream){0};
    if (l->gz && inflateInit2(&l->z, 15 + 16) != Z_OK) { /* 15: largest window, + 16: gzip header and crc32 */
        fclose(l->file);
        FAIL(MEM, "%s: inflateInit2", path);
    }
    return STATUS_OK;
}

static void close_file(loading *l) {
    if (l->gz) inflateEnd(&l->z);
    fclose(l->file);
}

/* zlib's own gzread takes a damaged header behind the first member for the end of the data, and text without any header
 * for plain text; here both are errors. */
static status inflate_chunk(loading *l) {
    l->z.next_out = (unsigned char *)l->chunk;
    l->z.avail_out = CHUNK_BYTES;
    while (l->z.avail_out > 0) {
        if (l->z.avail_in == 0) {
            l->z.next_in = l->compressed;
            l->z.avail_in = (uInt)fread(l->compressed, 1, CHUNK_BYTES, l->file);
            if (ferror(l->file)) FAIL(IO, "%s: %s", l->path, strerror(errno));
            if (l->z.avail_in == 0 && !l->gz_whole)
                FAIL(DATA, "%s: zlib: unexpected end of file, expected a whole gzip stream", l->path);
            if (l->z.avail_in == 0) break;
        }
        int code = inflate(&l->z, Z_NO_FLUSH); /* has input and room: Z_BUF_ERROR cannot be */
        if (code != Z_OK && code != Z_STREAM_END)
            FAIL(DATA, "%s: zlib: %s, expected a whole gzip stream", l->path, l->z.msg ? l->z.msg : zError(code));
        l->gz_whole = code == Z_STREAM_END;
        if (l->gz_whole) inflateReset(&l->z);
    }
    l->chunk_bytes = CHUNK_BYTES - l->z.avail_out;
    return STATUS_OK;
}

/* fills l->chunk; chunk_bytes is 0 at the end of the file */
static status read_chunk(loading *l) {
    if (l->gz) {
        TRY(inflate_chunk(l));
    } else {
        l->chunk_bytes = fread(l->chunk, 1, CHUNK_BYTES, l->file);
        if (ferror(l->file)) FAIL(IO, "%s: %s", l->path, strerror(errno));
    }
    l->file_bytes += (i64)l->chunk_bytes;
    return STATUS_OK;
}

static status read_to_end(loading *l) {
    do TRY(read_chunk(l));
    while (l->chunk_bytes > 0);
    return STATUS_OK;
}

/* ---- documents ---- */

static status_code too_large(const loading *l, i64 tokens) {
    FAIL(DATA, "%s: the text up to here takes %s of memory as tokens; %s leaves %s of %s; expected less text, or more memory",
         l->path, text_bytes((double)tokens * sizeof *l->c->tokens).text, l->room.what,
         text_bytes((double)l->room.left).text, text_bytes((double)l->room.limit).text);
}

static status add_bytes(loading *l, const char *text, size_t bytes) {
    corpus *c = l->c;
    i64 need = c->count + (i64)bytes + 1; /* 1: end-of-text always fits behind */
    if (need > l->capacity) {
        i64 most = (i64)(l->room.left / sizeof *c->tokens);
        i64 capacity = l->capacity * 2 > need ? l->capacity * 2 : need;
        if (capacity > most) capacity = most;
        if (capacity < need) return too_large(l, need);
        uint16_t *grown = realloc(c->tokens, (size_t)capacity * sizeof *grown);
        if (!grown) FAIL(MEM, "%s: text of %lld tokens", l->path, (long long)capacity);
        c->tokens = grown;
        l->capacity = capacity;
    }
    uint16_t *to = c->tokens + c->count;
    for (size_t i = 0; i < bytes; i++) to[i] = (unsigned char)text[i];
    c->count += (i64)bytes;
    return STATUS_OK;
}

/* what was added since `start` is a document; nothing is none */
static status end_document(loading *l, i64 start) {
    corpus *c = l->c;
    if (c->count == start) return STATUS_OK;
    if (c->documents == l->document_capacity) {
        i64 capacity = l->document_capacity ? l->document_capacity * 2 : 64;
        document *grown = realloc(l->documents, (size_t)capacity * sizeof *grown);
        if (!grown) FAIL(MEM, "%s: %lld documents", l->path, (long long)capacity);
        l->documents = grown;
        l->document_capacity = capacity;
    }
    c->bytes += c->count - start;
    c->tokens[c->count++] = TOKEN_END_OF_TEXT;
    l->documents[c->documents++] = (document){start, c->count - start};
    return STATUS_OK;
}

/* cJSON's strings end at a NUL, so an escaped one would silently cut the text */
static bool holds_escaped_nul(const char *json) {
    for (const char *p = strchr(json, '\\'); p; p = strchr(p + 2, '\\'))
        if (!strncmp(p + 1, "u0000", 5)) return true;
    return false;
}

static const char *json_kind(const cJSON *json) {
    return cJSON_IsObject(json)   ? "an object"
           : cJSON_IsArray(json)  ? "an array"
           : cJSON_IsString(json) ? "a string"
           : cJSON_IsNumber(json) ? "a number"
           : cJSON_IsNull(json)   ? "null"
                                  : "a boolean";
}

static status add_json_line(loading *l, i64 number) {
    static const char expected[] = "an object with a string \"text\"";
    long long line = number;
    if (strspn(l->line, " \t\r") == l->line_bytes) return STATUS_OK; /* blank, as after the last newline */
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(l->line, l->line_bytes + 1, &end, true);
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(json, "text");
    status_code st = STATUS_OK;
    if (!json)
        FAIL_DONE(DATA, "%s:%lld: found no valid JSON at column %lld, expected %s", l->path, line,
                  (long long)(end - l->line) + 1, expected);
    if (!cJSON_IsObject(json))
        FAIL_DONE(DATA, "%s:%lld: found %s, expected %s", l->path, line, json_kind(json), expected);
    if (!text) FAIL_DONE(DATA, "%s:%lld: found no field \"text\", expected %s", l->path, line, expected);
    if (!cJSON_IsString(text))
        FAIL_DONE(DATA, "%s:%lld: found \"text\" that is %s, expected %s", l->path, line, json_kind(text), expected);
    if (holds_escaped_nul(l->line)) FAIL_DONE(DATA, "%s:%lld: found \\u0000, expected text without NUL", l->path, line);
    i64 start = l->c->count;
    TRY_DONE(add_bytes(l, text->valuestring, strlen(text->valuestring)));
    TRY_DONE(end_document(l, start));
done:
    cJSON_Delete(json);
    return st;
}

static status extend_line(loading *l, const char *text, size_t bytes) {
    size_t need = l->line_bytes + bytes + 1;
    if (need > l->line_capacity) {
        size_t capacity = l->line_capacity * 2 > need ? l->line_capacity * 2 : need;
        char *grown = realloc(l->line, capacity);
        if (!grown) FAIL(MEM, "%s: line of %zu bytes", l->path, capacity);
        l->line = grown;
        l->line_capacity = capacity;
    }
    memcpy(l->line + l->line_bytes, text, bytes);
    l->line_bytes += bytes;
    l->line[l->line_bytes] = 0;
    return STATUS_OK;
}

static status add_lines_of_chunk(loading *l, i64 *number) {
    for (size_t at = 0; at < l->chunk_bytes;) {
        const char *from = l->chunk + at, *newline = memchr(from, '\n', l->chunk_bytes - at);
        size_t bytes = newline ? (size_t)(newline - from) : l->chunk_bytes - at;
        TRY(extend_line(l, from, bytes));
        at += bytes + 1;
        if (!newline) break;
        TRY(add_json_line(l, (*number)++));
        l->line_bytes = 0;
    }
    return STATUS_OK;
}

/* nul_at: offset of the first NUL byte, where reading stops; -1 where there is none */
static status add_contents(loading *l, i64 *nul_at) {
    size_t name = strlen(l->path) - (l->gz ? 3 : 0);
    bool jsonl = ends_with(l->path, name, ".jsonl");
    i64 start = l->c->count, line_number = 1;
    l->line_bytes = 0;
    for (*nul_at = -1;;) {
        TRY(read_chunk(l));
        if (l->chunk_bytes == 0) break;
        const char *nul = memchr(l->chunk, 0, l->chunk_bytes);
        if (nul) {
            *nul_at = l->file_bytes - (i64)l->chunk_bytes + (nul - l->chunk);
            return STATUS_OK;
        }
        if (jsonl) TRY(add_lines_of_chunk(l, &line_number));
        else TRY(add_bytes(l, l->chunk, l->chunk_bytes));
    }
    if (!jsonl) return end_document(l, start);
    return l->line_bytes ? add_json_line(l, line_number) : STATUS_OK;
}

/* ---- files and folders ---- */

static status skip(loading *l, const char *path) {
    if (l->skipped++ == 0 && !(l->first_skipped = strdup(path))) FAIL(MEM, "%s", path);
    return STATUS_OK;
}

static status add_file(loading *l, const char *path, bool named) {
    corpus before = *l->c;
    i64 nul_at = -1;
    TRY(open_file(l, path));
    status_code st = add_contents(l, &nul_at);
    /* damage to a gzip stream looks like binary or bad JSON before its crc is reached: let zlib speak first */
    if (l->gz && (st == STATUS_DATA || nul_at >= 0)) {
        status_code damage = read_to_end(l);
        if (damage) st = damage;
    }
    if (!st && nul_at >= 0) {
        if (named) FAIL_DONE(DATA, "%s: found a NUL byte at offset %lld, expected text", path, (long long)nul_at);
        l->c->count = before.count, l->c->documents = before.documents, l->c->bytes = before.bytes;
        TRY_DONE(skip(l, path));
    }
done:
    close_file(l);
    return st;
}

static int visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }
static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static status add_folder(loading *l, const char *path);

static status add_found(loading *l, const char *path) {
    struct stat self, target;
    if (lstat(path, &self)) FAIL(IO, "%s: %s", path, strerror(errno));
    bool link = S_ISLNK(self.st_mode);
    if (!link) target = self;
    else if (stat(path, &target)) return skip(l, path); /* leads nowhere */
    if (S_ISREG(target.st_mode)) return add_file(l, path, false);
    if (S_ISDIR(target.st_mode) && !link) return add_folder(l, path);
    return skip(l, path); /* a device, or a link to a folder: following those could go round for ever */
}

static status add_folder(loading *l, const char *path) {
    struct dirent **entries;
    int count = scandir(path, &entries, visible, by_name);
    if (count < 0) FAIL(IO, "%s: %s, expected a readable folder", path, strerror(errno));
    status_code st = STATUS_OK;
    char *child = NULL;
    const char *slash = ends_with(path, strlen(path), "/") ? "" : "/";
    for (int i = 0; i < count; i++) {
        if (asprintf(&child, "%s%s%s", path, slash, entries[i]->d_name) < 0) {
            child = NULL;
            FAIL_DONE(MEM, "%s: path", path);
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
    if (!S_ISDIR(s.st_mode)) FAIL(DATA, "%s: found neither file nor folder, expected a text file or a folder", path);
    i64 documents = l->c->documents;
    TRY(add_folder(l, path));
    if (l->c->documents == documents)
        FAIL(DATA, "%s: found no text in this folder, expected at least one text file that is not empty", path);
    return STATUS_OK;
}

/* ---- the corpus ---- */

/* Holds the tokens twice for a moment, 4 bytes a token in all; a single document stays where it is. */
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
    if (!ordered) FAIL(MEM, "text of %lld tokens", (long long)c->count);
    for (i64 i = 0; i < c->documents; to += d[i++].count)
        memcpy(to, c->tokens + d[i].start, (size_t)d[i].count * sizeof *to);
    free(c->tokens);
    c->tokens = ordered;
    return STATUS_OK;
}

status corpus_load(corpus *c, const char *const *paths, int count, double val_fraction, uint64_t seed) {
    *c = (corpus){0};
    if (count < 1) FAIL(ARG, "data: found no path, expected at least one file or folder");
    if (!(val_fraction >= 0 && val_fraction < 1))
        FAIL(ARG, "held-out fraction: found %g, expected at least 0 and less than 1", val_fraction);
    loading *l = calloc(1, sizeof *l);
    if (!l) FAIL(MEM, "data: %zu bytes", sizeof *l);
    l->c = c;
    l->room = host_memory();
    l->room.left = l->room.left / 8 * 7 / (uint64_t)host_ranks(); /* the rest is for all else */
    status_code st = STATUS_OK;
    for (int i = 0; i < count; i++) TRY_DONE(add_named(l, paths[i]));
    if (l->skipped)
        log_line("skipped %lld file%s that %s not text, first: %s", (long long)l->skipped, l->skipped == 1 ? "" : "s",
                 l->skipped == 1 ? "is" : "are", l->first_skipped);
    if (c->documents == 0)
        FAIL_DONE(DATA, "%s%s: found no text, expected at least one file that is not empty", paths[0],
                  count > 1 ? " and the other paths" : "");
    TRY_DONE(put_in_order(l, seed));
    c->train_count = c->count - (i64)((double)c->count * val_fraction);
    if (c->train_count < 2)
        FAIL_DONE(DATA, "%s%s: found %lld tokens, of which %lld are for training, expected at least 2 of those",
                  paths[0], count > 1 ? " and the other paths" : "", (long long)c->count, (long long)c->train_count);
    c->crc32 = (uint32_t)crc32_z(0, (const unsigned char *)c->tokens, (size_t)c->count * sizeof *c->tokens);
done:
    free(l->documents);
    free(l->line);
    free(l->first_skipped);
    free(l);
    if (st) corpus_free(c);
    return st;
}

void corpus_free(corpus *c) {
    free(c->tokens);
    *c = (corpus){0};
}

bool corpus_val_batch(const corpus *c, i64 i, i64 B, i64 T, int32_t *tokens, int32_t *targets) {
    const uint16_t *held_out = c->tokens + c->train_count;
    i64 pairs = c->count - c->train_count - 1; /* of a token and the one behind it */
    if (i * B * T >= pairs) return false;
    for (i64 k = 0; k < B * T; k++) {
        i64 at = i * B * T + k; /* windows lie end to end: row r of the batch begins T after row r - 1 */
        tokens[k] = at < pairs ? held_out[at] : TOKEN_END_OF_TEXT;
        targets[k] = at < pairs ? held_out[at + 1] : -1;
    }
    return true;
}
