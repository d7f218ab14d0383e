#include "train/data/tokenize_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/json.h"

enum { STATE_VERSION = 1 };
static const char state_name[] = "tokenize.json";

static const char *format_name(shard_format f) {
    switch (f) { SHARD_FORMAT_LIST(CHOICES_RETURN_NAME) }
    return "?";
}

path_text tokenize_shard_path(const tokenize_options *o, i64 number) {
    char name[64];
    snprintf(name, sizeof name, "shard-%06ld.%s", number, o->format == SHARD_LLMC ? "bin" : "tok");
    return path_join(o->folder, name);
}

/* ---- writing ---- */

/* what must be equal when the work goes on */
static status add_options(json_t *o, const tokenize_state *s, const tokenize_options *v) {
    TRY(json_add_i64(o, "version", STATE_VERSION));
    TRY(json_add_string(o, "format", format_name(v->format)));
    TRY(json_add_string(o, "tokenizer", tokenizer_fingerprint(v->t)));
    TRY(json_add_i64(o, "vocabulary", tokenizer_size(v->t)));
    TRY(json_add_i64(o, "end_of_text", tokenizer_end_of_text(v->t))); /* it is not in the fingerprint */
    TRY(json_add_i64(o, "shard_tokens", v->shard_tokens));
    if (v->from.template) TRY(json_add_string(o, "template", v->from.template));
    else TRY(json_add_string(o, "text_key", v->from.text_key ? v->from.text_key : "text"));
    TRY(json_add_i64(o, "files", s->files.files));
    TRY(json_add_i64(o, "files_bytes", s->files.bytes));
    return json_add_u64(o, "files_crc32", s->files.crc32);
}

static status add_progress(json_t *o, const tokenize_state *s, const tokenize_options *v) {
    TRY(json_add_string(o, "tokenizer_path", v->tokenizer_path ? v->tokenizer_path : "bytes"));
    TRY(json_add_bool(o, "complete", s->complete));
    TRY(json_add_i64(o, "shards", s->shards));
    TRY(json_add_i64(o, "documents", s->documents));
    TRY(json_add_i64(o, "text_bytes", s->bytes));
    TRY(json_add_i64(o, "tokens", s->tokens));
    json_t *next = json_add_object(o, "next");
    if (!next) FAIL(MEM, "%s: no memory", state_name);
    TRY(json_add_i64(next, "file", s->next.file));
    TRY(json_add_i64(next, "bytes", s->next.bytes));
    TRY(json_add_i64(next, "number", s->next.number));
    TRY(json_add_i64(next, "bad_lines", s->next.bad_lines));
    return json_add_u64(next, "input_crc32", s->next.input_crc);
}

status tokenize_state_write(const tokenize_state *s, const tokenize_options *v) {
    json_t *o = json_object();
    status_code st = o ? add_options(o, s, v) : ERROR(MEM, "%s: no memory", state_name);
    if (!st) st = add_progress(o, s, v);
    return json_write_file(o, st, path_join(v->folder, state_name).text);
}

/* ---- reading ---- */

static status check_options(json_t *found, const char *path, const tokenize_state *s, const tokenize_options *v) {
    const char *key;
    json_t *expected;
    json_t *all = json_object();
    char *a = NULL, *b = NULL;
    status_code st = all ? STATUS_OK : ERROR(MEM, "%s: no memory", path);
    if (!st) st = add_options(all, s, v);
    if (!st) json_object_foreach(all, key, expected) {
            json_t *value = json_object_get(found, key);
            if (value && json_equal(value, expected)) continue;
            if (value) TRY_DONE(json_print(&a, value, JSON_ONE_LINE));
            TRY_DONE(json_print(&b, expected, JSON_ONE_LINE));
            FAIL_DONE(DATA,
                      "%s: this folder was begun with %s %s, found %s now; expected the same text and options, or "
                      "another folder",
                      path, key, a ? a : "unknown", b);
        }
done:
    free(a);
    free(b);
    json_decref(all);
    return st;
}

static status read_progress(json_t *o, const char *path, tokenize_state *s) {
    json_t *next;
    uint64_t crc;
    TRY(json_get_bool(o, path, "complete", &s->complete));
    TRY(json_get_i64(o, path, "shards", &s->shards));
    TRY(json_get_i64(o, path, "documents", &s->documents));
    TRY(json_get_i64(o, path, "text_bytes", &s->bytes));
    TRY(json_get_i64(o, path, "tokens", &s->tokens));
    TRY(json_get_object(o, path, "next", &next));
    TRY(json_get_i64(next, path, "file", &s->next.file));
    TRY(json_get_i64(next, path, "bytes", &s->next.bytes));
    TRY(json_get_i64(next, path, "number", &s->next.number));
    TRY(json_get_i64(next, path, "bad_lines", &s->next.bad_lines));
    TRY(json_get_u64(next, path, "input_crc32", &crc));
    s->next.input_crc = (uint32_t)crc;
    return STATUS_OK;
}

/* ---- the folder ---- */

/* Files that were not finished (.tmp) and hidden ones do not count. */
static int counts(const struct dirent *entry) {
    return entry->d_name[0] != '.' && !path_ends_with(entry->d_name, ".tmp");
}

static status check_new_folder(const tokenize_options *v) {
    struct dirent **entries;
    int count = scandir(v->folder, &entries, counts, alphasort);
    if (count < 0) FAIL(IO, "%s: %s", v->folder, strerror(errno));
    status_code st = STATUS_OK;
    if (count)
        st = ERROR(DATA, "%s: holds \"%s\" but no %s, expected a new or empty folder", v->folder, entries[0]->d_name,
                   state_name);
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return st;
}

status tokenize_state_open(tokenize_state *s, const tokenize_options *v) {
    struct stat info;
    path_text path = path_join(v->folder, state_name);
    if (!path.text[0]) FAIL(ARG, "%s: path is too long", v->folder);
    if (stat(path.text, &info) && errno == ENOENT) {
        TRY(check_new_folder(v));
        return tokenize_state_write(s, v);
    }
    json_t *o;
    TRY(json_read_file(&o, path.text));
    tokenize_state found = *s;
    status_code st = read_progress(o, path.text, &found);
    bool begun = !st && (found.shards || found.complete); /* else there is nothing to lose */
    if (begun) st = check_options(o, path.text, s, v);
    if (begun && !st) *s = found;
    if (!begun && !st) st = tokenize_state_write(s, v);
    json_decref(o);
    return st;
}
