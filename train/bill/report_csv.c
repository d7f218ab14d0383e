#include "train/bill/report_csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/path.h"
#include "train/bill/metrics_reader.h"

enum { MOST_COLUMNS = 256, FLUSH_AT = 1 << 20 };

typedef struct {
    char *name[MOST_COLUMNS];
    int count;
    const char *path; /* of the CSV file */
    int fd;
    char *text; /* not written yet */
    size_t bytes;
    FILE *out; /* into text */
} table;

/* ---- the columns ---- */

static status add_column(table *t, const char *name) {
    for (int i = 0; i < t->count; i++)
        if (!strcmp(t->name[i], name)) return STATUS_OK;
    if (t->count == MOST_COLUMNS) FAIL(ARG, "%s: the lines have more than %d different keys", t->path, MOST_COLUMNS);
    if (!(t->name[t->count] = strdup(name))) FAIL(MEM, "%s: no memory", t->path);
    t->count++;
    return STATUS_OK;
}

static path_text inner_name(const char *outer, const char *inner) {
    path_text name;
    snprintf(name.text, sizeof name.text, "%s.%s", outer, inner);
    return name;
}

static status add_columns(table *t, const metrics_line *line) {
    const char *key, *inner;
    json_t *item, *value;
    json_object_foreach((json_t *)line->json, key, item) {
        if (!json_is_object(item)) TRY(add_column(t, key));
        else json_object_foreach(item, inner, value) TRY(add_column(t, inner_name(key, inner).text));
    }
    return STATUS_OK;
}

/* ---- the cells ---- */

static void write_text(FILE *out, const char *s) {
    if (!s[strcspn(s, ",\"\r\n")]) {
        fputs(s, out);
        return;
    }
    fputc('"', out);
    for (; *s; s++) {
        if (*s == '"') fputc('"', out);
        fputc(*s, out);
    }
    fputc('"', out);
}

/* A key may hold dots itself. */
static const json_t *find(const json_t *line, const char *name) {
    const json_t *found = json_object_get(line, name);
    if (json_is_object(found)) found = NULL;
    for (const char *dot = strchr(name, '.'); !found && dot; dot = strchr(dot + 1, '.')) {
        path_text outer;
        snprintf(outer.text, sizeof outer.text, "%.*s", (int)(dot - name), name);
        found = json_object_get(json_object_get(line, outer.text), dot + 1);
    }
    return found;
}

static status write_cell(FILE *out, const json_t *value) {
    const char *words = json_string_or_null(value);
    char *text = NULL;
    if (words) write_text(out, words);
    if (words || !value || json_is_null(value)) return STATUS_OK;
    TRY(json_print(&text, value, JSON_ONE_LINE));
    write_text(out, text);
    free(text);
    return STATUS_OK;
}

static status flush(table *t, size_t at_least) {
    if (fflush(t->out)) FAIL(MEM, "%s: no memory", t->path);
    if (t->bytes < at_least) return STATUS_OK;
    TRY(durable_write(t->fd, t->path, t->text, t->bytes));
    rewind(t->out);
    return STATUS_OK;
}

static status write_row(table *t, const char *run, const json_t *line) {
    write_text(t->out, run);
    for (int i = 0; i < t->count; i++) {
        fputc(',', t->out);
        TRY(write_cell(t->out, find(line, t->name[i])));
    }
    fputc('\n', t->out);
    return flush(t, FLUSH_AT);
}

/* ---- the file ---- */

static status read_run(table *t, const char *run, bool write) {
    metrics_reader *in;
    metrics_line line;
    bool more = true;
    TRY(metrics_reader_open(&in, path_join(run, "metrics.jsonl").text));
    status_code st = STATUS_OK;
    for (;;) {
        TRY_DONE(metrics_reader_next(in, &line, &more));
        if (!more) break;
        if (line.event) continue;
        TRY_DONE(write ? write_row(t, run, line.json) : add_columns(t, &line));
    }
done:
    metrics_reader_close(in);
    return st;
}

static void write_header(table *t) {
    fputs("run", t->out);
    for (int i = 0; i < t->count; i++) {
        fputc(',', t->out);
        write_text(t->out, t->name[i]);
    }
    fputc('\n', t->out);
}

static status write_file(table *t, const char *const *folders, int count, const char *temporary) {
    status_code st = STATUS_OK;
    TRY(durable_create(&t->fd, temporary));
    if (!(t->out = open_memstream(&t->text, &t->bytes))) FAIL_DONE(MEM, "%s: no memory", t->path);
    write_header(t);
    for (int i = 0; i < count; i++) TRY_DONE(read_run(t, folders[i], true));
    TRY_DONE(flush(t, 0));
    TRY_DONE(durable_sync(t->fd, temporary));
done:
    if (t->out) fclose(t->out);
    free(t->text);
    status_code closed = durable_close(t->fd, temporary);
    if (!st) st = closed;
    if (!st) st = durable_rename(temporary, t->path);
    if (st) unlink(temporary);
    return st;
}

status report_csv_write(const char *const *folders, int count, const char *path) {
    table t = {.path = path, .fd = -1};
    status_code st = STATUS_OK;
    for (int i = 0; i < count; i++) TRY_DONE(read_run(&t, folders[i], false));
    st = write_file(&t, folders, count, path_add_ending(path, ".tmp").text);
done:
    for (int i = 0; i < t.count; i++) free(t.name[i]);
    return st;
}
