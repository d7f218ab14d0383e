#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"
#include "train/data/json_scan.h"
#include "train/data/tokenizer_parts.h"

enum { LARGEST_FILE = 256 << 20 };

/* ---- vocabulary ---- */

static status read_vocabulary(tokenizer *t, json_scan *s) {
    TRY(json_scan_expect(s, '{'));
    if (json_scan_take(s, '}')) return STATUS_OK;
    do {
        size_t bytes;
        i64 id;
        TRY(json_scan_string(s, &bytes));
        TRY(json_scan_expect(s, ':'));
        TRY(json_scan_integer(s, &id));
        if (!bytes) FAIL(DATA, "%s: the token with the id %ld is empty, expected text", s->path, id);
        TRY(vocabulary_add(&t->tokens, id, s->room, bytes));
    } while (json_scan_take(s, ','));
    return json_scan_expect(s, '}');
}

/* ---- merges ---- */

static status find_token(const tokenizer *t, int32_t *id, const char *name, size_t bytes, const char *path, i64 rank) {
    *id = vocabulary_find(&t->tokens, name, bytes);
    if (*id < 0)
        FAIL(DATA, "%s: merge %ld has \"%.*s\", which is no token of the vocabulary", path, rank + 1,
             bytes < 60 ? (int)bytes : 60, name);
    return STATUS_OK;
}

/* text: the left token, `left` bytes, followed by the right one */
static status add_merge(tokenizer *t, tokenizer_merges *m, const char *path, const char *text, size_t left,
                        size_t right) {
    if (m->count == m->room) {
        i64 room = m->room ? 2 * m->room : 4096;
        bpe_merge *larger = realloc(m->list, (size_t)room * sizeof *larger);
        if (!larger) FAIL(MEM, "%s: no memory for %ld merges", path, room);
        m->list = larger;
        m->room = room;
    }
    bpe_merge *merge = &m->list[m->count];
    if (!left || !right) FAIL(DATA, "%s: merge %ld has an empty token, expected two tokens", path, m->count + 1);
    TRY(find_token(t, &merge->left, text, left, path, m->count));
    TRY(find_token(t, &merge->right, text + left, right, path, m->count));
    TRY(find_token(t, &merge->id, text, left + right, path, m->count));
    m->count++;
    return STATUS_OK;
}

/* "a b"; text is changed */
static status add_line(tokenizer *t, tokenizer_merges *m, const char *path, char *text, size_t bytes) {
    char *space = memchr(text, ' ', bytes);
    size_t left = space ? (size_t)(space - text) : 0, right = bytes - left - 1;
    if (!space || memchr(space + 1, ' ', right))
        FAIL(DATA, "%s: merge %ld is \"%.*s\", expected two tokens with a space between them", path, m->count + 1,
             bytes < 60 ? (int)bytes : 60, text);
    memmove(space, space + 1, right);
    return add_merge(t, m, path, text, left, right);
}

/* ["a", "b"], read after its '[' */
static status add_pair(tokenizer *t, tokenizer_merges *m, json_scan *s, tokenizer_text *pair) {
    size_t left, right;
    pair->bytes = 0;
    TRY(json_scan_string(s, &left));
    TRY(tokenizer_text_add(pair, s->room, left));
    TRY(json_scan_expect(s, ','));
    TRY(json_scan_string(s, &right));
    TRY(tokenizer_text_add(pair, s->room, right));
    TRY(json_scan_expect(s, ']'));
    return add_merge(t, m, s->path, pair->text, left, right);
}

static status read_merges(tokenizer *t, tokenizer_merges *m, json_scan *s, tokenizer_text *pair) {
    TRY(json_scan_expect(s, '['));
    if (json_scan_take(s, ']')) return STATUS_OK;
    do {
        size_t bytes;
        if (json_scan_take(s, '[')) {
            TRY(add_pair(t, m, s, pair));
        } else {
            TRY(json_scan_string(s, &bytes));
            TRY(add_line(t, m, s->path, s->room, bytes));
        }
    } while (json_scan_take(s, ','));
    return json_scan_expect(s, ']');
}

/* ---- tokenizer.json ---- */

typedef struct {
    size_t from, to; /* to is 0: not found */
} stretch;

/* Finds two values in the object that comes. */
static status find_values(json_scan *s, const char *const *keys, stretch *values, int count) {
    TRY(json_scan_expect(s, '{'));
    if (json_scan_take(s, '}')) return STATUS_OK;
    do {
        size_t bytes;
        int found = -1;
        TRY(json_scan_string(s, &bytes));
        for (int i = 0; i < count; i++)
            if (strcmp(keys[i], s->room) == 0) found = i;
        TRY(json_scan_expect(s, ':'));
        json_scan_peek(s);
        size_t from = s->at;
        TRY(json_scan_skip(s));
        if (found >= 0) values[found] = (stretch){from, s->at};
    } while (json_scan_take(s, ','));
    return json_scan_expect(s, '}');
}

/* the text with null in place of the two stretches */
static status parse_rest(json_t **rest, const char *path, const char *text, size_t bytes, const stretch *out) {
    stretch a = out[0], b = out[1];
    if (a.from > b.from) a = out[1], b = out[0];
    char *shorter = malloc(bytes + 16), *to = shorter;
    if (!shorter) FAIL(MEM, "%s: no memory for %zu bytes of JSON", path, bytes);
    to = mempcpy(to, text, a.from);
    to = mempcpy(to, "null", 4);
    to = mempcpy(to, text + a.to, b.from - a.to);
    to = mempcpy(to, "null", 4);
    to = mempcpy(to, text + b.to, bytes - b.to);
    *to = 0;
    status_code st = json_parse(rest, path, shorter, (size_t)(to - shorter));
    free(shorter);
    return st;
}

status tokenizer_read_model(tokenizer *t, tokenizer_merges *merges, json_t **rest, const char *path) {
    static const char *const model[] = {"model"}, *const parts[] = {"vocab", "merges", "type"};
    char *text;
    size_t bytes;
    stretch whole = {0}, values[3] = {{0}, {0}, {0}};
    tokenizer_text pair = {0};
    *rest = NULL;
    TRY(file_read_up_to(LARGEST_FILE, path, &text, &bytes));
    json_scan s = {.path = path, .text = text, .bytes = bytes};
    status_code st = STATUS_OK;
    TRY_DONE(find_values(&s, model, &whole, 1));
    if (!whole.to || text[whole.from] != '{') FAIL_DONE(DATA, "%s: has no \"model\" that is an object", path);
    s.at = whole.from;
    TRY_DONE(find_values(&s, parts, values, 3));
    stretch type = values[2];
    if (type.to && (type.to - type.from != 5 || memcmp(text + type.from, "\"BPE\"", 5) != 0))
        FAIL_DONE(DATA, "%s: \"model\" has the type %.*s, expected \"BPE\"", path,
                  (int)(type.to - type.from < 40 ? type.to - type.from : 40), text + type.from);
    for (int i = 0; i < 2; i++)
        if (!values[i].to) FAIL_DONE(DATA, "%s: its model has no \"%s\", expected that of a BPE", path, parts[i]);
    TRY_DONE(parse_rest(rest, path, text, bytes, values));
    s.at = values[0].from;
    TRY_DONE(read_vocabulary(t, &s));
    s.at = values[1].from;
    TRY_DONE(read_merges(t, merges, &s, &pair));
done:
    if (st) {
        json_decref(*rest);
        *rest = NULL;
    }
    tokenizer_text_free(&pair);
    json_scan_free(&s);
    free(text);
    return st;
}

/* ---- GPT-2's two files ---- */

static status read_lines(tokenizer *t, tokenizer_merges *m, const char *path, char *text, size_t text_bytes) {
    const char *nul = memchr(text, 0, text_bytes);
    if (nul) FAIL(DATA, "%s: found a NUL byte at offset %td, expected text", path, nul - text);
    for (char *line = text; *line;) {
        size_t bytes = strcspn(line, "\n"), with_end = bytes + (line[bytes] == '\n');
        if (bytes && line[bytes - 1] == '\r') bytes--;
        bool comment = line == text && strncmp(line, "#version", 8) == 0;
        if (bytes && !comment) TRY(add_line(t, m, path, line, bytes));
        line += with_end;
    }
    return STATUS_OK;
}

status tokenizer_read_pair(tokenizer *t, tokenizer_merges *merges, const char *vocabulary_path,
                           const char *merges_path) {
    char *text = NULL, *lines = NULL;
    size_t bytes, line_bytes;
    TRY(file_read_up_to(LARGEST_FILE, vocabulary_path, &text, &bytes));
    json_scan s = {.path = vocabulary_path, .text = text, .bytes = bytes};
    status_code st = STATUS_OK;
    TRY_DONE(read_vocabulary(t, &s));
    if (json_scan_peek(&s))
        FAIL_DONE(DATA, "%s: found more at byte %zu, expected the end of the file", vocabulary_path, s.at);
    TRY_DONE(file_read_up_to(LARGEST_FILE, merges_path, &lines, &line_bytes));
    TRY_DONE(read_lines(t, merges, merges_path, lines, line_bytes));
done:
    json_scan_free(&s);
    free(lines);
    free(text);
    return st;
}
