#include "train/bill/metrics_reader.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file.h"
#include "runtime/log.h"
#include "runtime/path.h"

enum { LONGEST_LINE = 64 << 10, MOST_LOGGED = 5 };

struct metrics_reader {
    int fd;
    path_text path;
    i64 number, offset; /* of the current line, counted from 1 and from 0 */
    double last_step;   /* the last one read; 0 before the first */
    i64 damaged, gaps;
    bool at_end, follow;
    json_t *json;
    size_t from, filled;               /* the part of the buffer that is not yet returned */
    char buffer[2 * LONGEST_LINE + 1]; /* the last byte is for a NUL */
};

status metrics_reader_open(metrics_reader **out, const char *path) {
    *out = NULL;
    int fd;
    size_t size;
    TRY(file_open(&fd, path, &size));
    metrics_reader *r = malloc(sizeof *r);
    if (!r) {
        close(fd);
        FAIL(MEM, "%s: no memory", path);
    }
    *r = (metrics_reader){.fd = fd};
    r->path = path_add_ending(path, "");
    *out = r;
    return STATUS_OK;
}

void metrics_reader_follow(metrics_reader *r) { r->follow = true; }

bool metrics_reader_replaced(const metrics_reader *r) {
    struct stat named, open;
    if (stat(r->path.text, &named) || fstat(r->fd, &open)) return true;
    return named.st_dev != open.st_dev || named.st_ino != open.st_ino || named.st_size < r->offset;
}

bool metrics_reader_damaged(const metrics_reader *r) { return r->damaged > 0; }

void metrics_reader_close(metrics_reader *r) {
    if (!r) return;
    if (r->damaged > MOST_LOGGED && !r->follow)
        log_line("%s: %ld more damaged lines were skipped", r->path.text, r->damaged - MOST_LOGGED);
    if (r->gaps > MOST_LOGGED && !r->follow)
        log_line("%s: %ld more gaps in the steps", r->path.text, r->gaps - MOST_LOGGED);
    close(r->fd);
    json_decref(r->json);
    free(r);
}

static void log_damage(metrics_reader *r, i64 offset, const char *what) {
    if (++r->damaged <= MOST_LOGGED && !r->follow)
        log_line("%s: line %ld (byte %ld) %s", r->path.text, r->number, offset, what);
}

void metrics_reader_expect(metrics_reader *r, double step) {
    double first = r->last_step + 1;
    if (!(first <= step)) return;
    if (++r->gaps > MOST_LOGGED || r->follow) return;
    if (first == step) log_line("%s: the line of step %.0f is missing", r->path.text, step);
    else log_line("%s: the lines of steps %.0f to %.0f are missing", r->path.text, first, step);
}

/* Reads until the buffer holds the end of a line, is full, or the file ends. *end: that newline, or NULL. */
static status fill(metrics_reader *r, char **end) {
    size_t looked = r->from;
    for (;;) {
        *end = memchr(r->buffer + looked, '\n', r->filled - looked);
        if (*end || r->at_end) return STATUS_OK;
        if (r->from) {
            memmove(r->buffer, r->buffer + r->from, r->filled - r->from);
            r->filled -= r->from;
            r->from = 0;
        }
        looked = r->filled;
        if (r->filled == sizeof r->buffer - 1) return STATUS_OK;
        ssize_t got = read(r->fd, r->buffer + r->filled, sizeof r->buffer - 1 - r->filled);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) FAIL(IO, "%s: %s", r->path.text, strerror(errno));
        r->at_end = got == 0;
        r->filled += (size_t)got;
    }
}

static void take(metrics_reader *r, size_t bytes) {
    r->from += bytes;
    r->offset += (i64)bytes;
}

/* Skips any number of NUL bytes before a line. */
static status skip_nuls(metrics_reader *r, char **end) {
    char what[80];
    i64 first = r->offset;
    for (;;) {
        TRY(fill(r, end));
        size_t nuls = 0;
        while (r->from + nuls < r->filled && !r->buffer[r->from + nuls]) nuls++;
        if (!nuls) break;
        take(r, nuls);
    }
    if (r->offset == first) return STATUS_OK;
    snprintf(what, sizeof what, "begins with %ld NUL bytes, which were skipped", r->offset - first);
    log_damage(r, first, what);
    return STATUS_OK;
}

static status skip_long_line(metrics_reader *r, char **end) {
    log_damage(r, r->offset, "is longer than 64 KiB and was skipped");
    while (!*end && r->filled > r->from) {
        take(r, r->filled - r->from);
        TRY(fill(r, end));
    }
    if (*end) take(r, (size_t)(*end - (r->buffer + r->from)) + 1);
    return STATUS_OK;
}

static bool is_blank(const char *text, size_t bytes) {
    while (bytes && strchr(" \t\r", text[bytes - 1]) && text[bytes - 1]) bytes--;
    return bytes == 0;
}

static double step_of(const json_t *json) {
    double step = json_number_or_nan(json_object_get(json, "step"));
    return fabs(step) < 1e18 ? step : NAN;
}

/* Overwrites text[bytes]. false: the line is damaged, which is logged. */
static bool parse(metrics_reader *r, char *text, size_t bytes, bool has_end) {
    text[bytes] = 0;
    if (json_parse(&r->json, r->path.text, text, bytes) == STATUS_OK && json_is_object(r->json)) return true;
    json_decref(r->json);
    r->json = NULL;
    log_damage(r, r->offset,
               memchr(text, 0, bytes) ? "contains NUL bytes and was skipped"
               : has_end              ? "is not a JSON object and was skipped"
                                      : "is incomplete and was skipped");
    return false;
}

static void check_gap(metrics_reader *r, const metrics_line *line) {
    if (line->event) return;
    double step = isnan(line->step) ? r->last_step + 1 : line->step;
    metrics_reader_expect(r, step - 1);
    r->last_step = step;
}

status metrics_reader_next(metrics_reader *r, metrics_line *line, bool *more) {
    *line = (metrics_line){0};
    *more = false;
    json_decref(r->json);
    r->json = NULL;
    r->at_end = r->at_end && !r->follow;
    for (char *end;;) {
        r->number++;
        TRY(skip_nuls(r, &end));
        if (r->from == r->filled) return STATUS_OK;
        if (r->follow && !end && r->filled - r->from < LONGEST_LINE) return STATUS_OK;
        char *text = r->buffer + r->from;
        size_t bytes = end ? (size_t)(end - text) : r->filled - r->from;
        if (bytes >= LONGEST_LINE) {
            TRY(skip_long_line(r, &end));
            continue;
        }
        i64 offset = r->offset;
        bool good = !is_blank(text, bytes) && parse(r, text, bytes, end);
        take(r, bytes + (end != NULL));
        if (!good) continue;
        *line = (metrics_line){.text = text,
                               .bytes = bytes,
                               .json = r->json,
                               .offset = offset,
                               .has_end = end != NULL,
                               .step = step_of(r->json),
                               .event = json_find(r->json, "event") != NULL};
        check_gap(r, line);
        *more = true;
        return STATUS_OK;
    }
}
