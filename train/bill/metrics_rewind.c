#include "train/bill/metrics_rewind.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/log.h"
#include "runtime/path.h"
#include "train/bill/metrics.h"
#include "train/bill/metrics_reader.h"

enum { BUFFER = 1 << 20 }; /* holds any line that metrics_reader returns */

typedef struct {
    const char *path;
    path_text next; /* the file that will replace it */
    metrics_reader *in;
    int out;  /* of next; -1 while nothing has been dropped */
    i64 same; /* bytes at the beginning of the file that are kept */
    uint64_t dropped;
    size_t buffered;
    char *buffer; /* [BUFFER] to be written to out */
    bool created; /* next is this process's own file */
} rewinding;

/* Ignores a wall_s that no checkpoint could hold: a digit of it is damaged. */
static void take_sums(spent_totals *last, const char *path, const metrics_line *line) {
    const json_t *json = line->json;
    double wall_s = json_number_or_nan(json_object_get(json, "wall_s")), most = (double)SPENT_MOST_NS * 1e-9;
    if (wall_s > most) {
        log_line("%s: the line of step %.0f has wall_s %g, expected at most %.0f; the sums of this line are ignored",
                 path, line->step, wall_s, most);
        return;
    }
    if (wall_s >= (double)last->ns * 1e-9) {
        last->ns = (uint64_t)llround(wall_s * 1e9);
        /* null: an attempt without a price, so the money known before it is not all */
        if (json_object_get(json, "usd")) last->usd = json_number_or_nan(json_object_get(json, "usd"));
    }
    last->joules = fmax(last->joules, json_number_or_nan(json_object_get(json, "energy_total_j")));
}

static status event_text(char **text, uint64_t step, const spent_totals *last, uint64_t dropped) {
    status_code st = STATUS_OK;
    json_t *o = json_object();
    if (!o) FAIL(MEM, "no memory for metrics.jsonl");
    TRY_DONE(json_add_string(o, "event", "resume"));
    TRY_DONE(json_add_u64(o, "step", step));
    TRY_DONE(json_add_double(o, "wall_s", (double)last->ns * 1e-9));
    TRY_DONE(json_add_number_or_null(o, "usd", last->usd));
    TRY_DONE(json_add_number_or_null(o, "energy_total_j", last->joules));
    TRY_DONE(json_add_u64(o, "dropped_lines", dropped));
    st = json_print(text, o, JSON_ONE_LINE);
done:
    json_decref(o);
    return st;
}

static status flush(rewinding *w) {
    size_t bytes = w->buffered;
    w->buffered = 0;
    return durable_write(w->out, w->next.text, w->buffer, bytes);
}

static status copy_beginning(rewinding *w) {
    status_code st = STATUS_OK;
    FILE *from = fopen(w->path, "rb");
    if (!from) FAIL(IO, "%s: %s", w->path, strerror(errno));
    for (i64 left = w->same; left > 0;) {
        size_t bytes = left < BUFFER ? (size_t)left : BUFFER;
        if (fread(w->buffer, 1, bytes, from) != bytes) FAIL_DONE(IO, "%s: became shorter while it was read", w->path);
        w->buffered = bytes;
        TRY_DONE(flush(w));
        left -= (i64)bytes;
    }
done:
    fclose(from);
    return st;
}

/* From here on, lines that are kept are copied to the new file. */
static status begin_copy(rewinding *w) {
    if (w->out >= 0) return STATUS_OK;
    if (!(w->buffer = malloc(BUFFER))) FAIL(MEM, "%s: no memory for a buffer", w->path);
    TRY(durable_create(&w->out, w->next.text));
    w->created = true;
    return copy_beginning(w);
}

static status write_line(rewinding *w, const char *text, size_t bytes) {
    if (w->buffered + bytes + 1 > BUFFER) TRY(flush(w));
    memcpy(w->buffer + w->buffered, text, bytes);
    w->buffer[w->buffered + bytes] = '\n';
    w->buffered += bytes + 1;
    return STATUS_OK;
}

static status read_lines(rewinding *w, uint64_t step, spent_totals *last) {
    metrics_line line;
    for (bool more;;) {
        TRY(metrics_reader_next(w->in, &line, &more));
        if (metrics_reader_damaged(w->in)) TRY(begin_copy(w));
        if (!more) break;
        take_sums(last, w->path, &line);
        bool keep = line.step <= (double)step; /* false for NaN */
        w->dropped += !keep;
        if (!keep || !line.has_end) TRY(begin_copy(w));
        if (keep && w->out >= 0) TRY(write_line(w, line.text, line.bytes));
        else if (keep) w->same = line.offset + (i64)line.bytes + 1;
    }
    metrics_reader_expect(w->in, (double)step);
    return STATUS_OK;
}

static status append(const char *path, const char *text) {
    FILE *f;
    TRY(metrics_open(&f, path, true));
    status_code st = STATUS_OK;
    if (fprintf(f, "%s\n", text) < 0) FAIL_DONE(IO, "%s: %s", path, strerror(errno));
    st = metrics_sync(f, path);
done:
    fclose(f);
    return st;
}

static status replace(rewinding *w, const char *event) {
    TRY(write_line(w, event, strlen(event)));
    TRY(flush(w));
    TRY(durable_sync(w->out, w->next.text));
    int out = w->out;
    w->out = -1;
    TRY(durable_close(out, w->next.text));
    return durable_rename(w->next.text, w->path);
}

static status rewind_file(rewinding *w, uint64_t step, spent_totals *last) {
    status_code st = STATUS_OK;
    char *event = NULL;
    TRY_DONE(metrics_reader_open(&w->in, w->path));
    TRY_DONE(read_lines(w, step, last));
    TRY_DONE(event_text(&event, step, last, w->dropped));
    st = w->out >= 0 ? replace(w, event) : append(w->path, event);
done:
    free(event);
    return st;
}

status metrics_rewind(const char *path, uint64_t step, spent_totals *last) {
    struct stat info;
    if (lstat(path, &info) != 0) {
        if (errno != ENOENT) FAIL(IO, "%s: %s", path, strerror(errno));
        if (step) log_line("%s: is missing; the lines of steps 1 to %lu are lost", path, step);
        return STATUS_OK;
    }
    if (!S_ISREG(info.st_mode)) FAIL(ARG, "%s: is a link, a folder or a device, expected a regular file", path);
    rewinding w = {.path = path, .out = -1};
    w.next = path_add_ending(path, ".tmp");
    status_code st = rewind_file(&w, step, last);
    metrics_reader_close(w.in);
    if (w.out >= 0) close(w.out);
    if (st && w.created) unlink(w.next.text);
    free(w.buffer);
    return st;
}
