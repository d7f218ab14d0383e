#include "train/bill/metrics_rewind.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "runtime/durable.h"
#include "runtime/file.h"
#include "runtime/log.h"
#include "train/bill/metrics.h"
#include "train/bill/metrics_reader.h"
#include "train/checkpoint/blockfile.h"
#include "train/checkpoint/progress.h"

static const char NAME[] = "metrics.jsonl.tmp";

typedef struct {
    const char *path;
    path_text folder;
    metrics_reader *in;
    blockfile *out; /* the file's next contents; NULL while they are what it begins with */
    i64 same;       /* so many bytes at its beginning stay */
    uint64_t dropped;
} rewinding;

static double number_of(const cJSON *o, const char *key) {
    const cJSON *v = json_find(o, key);
    return cJSON_IsNumber(v) ? v->valuedouble : NAN;
}

/* A damaged digit must not make a bill that no checkpoint can hold. */
static void look_at(metrics_last *last, const char *path, const metrics_line *line) {
    const cJSON *json = line->json;
    double wall_s = number_of(json, "wall_s"), most = (double)PROGRESS_MOST_NS * 1e-9;
    if (wall_s > most) {
        log_line("%s: the line of step %.0f has wall_s %g, expected at most %.0f, a century; its sums do not count",
                 path, line->step, wall_s, most);
        return;
    }
    if (wall_s >= last->wall_s) {
        last->wall_s = wall_s;
        /* null: an attempt without a price; what was known before it is not all */
        if (cJSON_HasObjectItem(json, "usd")) last->usd = number_of(json, "usd");
    }
    last->energy_j = fmax(last->energy_j, number_of(json, "energy_total_j"));
}

static status event_text(char **text, uint64_t step, const metrics_last *last, uint64_t dropped) {
    status_code st = STATUS_OK;
    cJSON *o = cJSON_CreateObject();
    if (!o) FAIL(MEM, "metrics.jsonl");
    TRY_DONE(json_add_string(o, "event", "resume"));
    TRY_DONE(json_add_u64(o, "step", step));
    TRY_DONE(json_add_double(o, "wall_s", last->wall_s));
    TRY_DONE(json_add_number_or_null(o, "usd", last->usd));
    TRY_DONE(json_add_number_or_null(o, "energy_total_j", last->energy_j));
    TRY_DONE(json_add_u64(o, "dropped_lines", dropped));
    st = json_print(text, o, JSON_ONE_LINE);
done:
    cJSON_Delete(o);
    return st;
}

static status copy_beginning(rewinding *w) {
    enum { PIECE = 1 << 20 };
    status_code st = STATUS_OK;
    char *piece = malloc(PIECE);
    FILE *from = fopen(w->path, "rb");
    if (!piece || !from) FAIL_DONE(IO, "%s: %s", w->path, strerror(errno));
    for (i64 left = w->same; left > 0;) {
        size_t bytes = left < PIECE ? (size_t)left : PIECE;
        if (fread(piece, 1, bytes, from) != bytes) FAIL_DONE(IO, "%s: became shorter while it was read", w->path);
        TRY_DONE(blockfile_write(w->out, piece, bytes));
        left -= (i64)bytes;
    }
done:
    if (from) fclose(from);
    free(piece);
    return st;
}

/* From here on all that is kept is written anew. */
static status part_ways(rewinding *w) {
    if (w->out) return STATUS_OK;
    TRY(blockfile_create(&w->out, w->folder.text, NAME));
    return copy_beginning(w);
}

static status write_line(rewinding *w, const char *text, size_t bytes) {
    TRY(blockfile_write(w->out, text, bytes));
    return blockfile_write(w->out, "\n", 1);
}

static status go_through(rewinding *w, uint64_t step, metrics_last *last) {
    metrics_line line;
    for (bool more;;) {
        TRY(metrics_reader_next(w->in, &line, &more));
        if (metrics_reader_damaged(w->in)) TRY(part_ways(w));
        if (!more) break;
        look_at(last, w->path, &line);
        bool keep = line.step <= (double)step; /* false for NaN */
        w->dropped += !keep;
        if (!keep || !line.has_end) TRY(part_ways(w));
        if (keep && w->out) TRY(write_line(w, line.text, line.bytes));
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
    blockfile_sums sums;
    TRY(write_line(w, event, strlen(event)));
    blockfile *out = w->out;
    w->out = NULL;
    TRY(blockfile_close(out, &sums));
    free(sums.crc);
    return durable_rename(path_join(w->folder.text, NAME).text, w->path);
}

status metrics_rewind(const char *path, uint64_t step, metrics_last *last) {
    rewinding w = {.path = path};
    const char *slash = strrchr(path, '/');
    snprintf(w.folder.text, sizeof w.folder.text, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    struct stat info;
    if (lstat(path, &info) != 0) {
        if (errno != ENOENT) FAIL(IO, "%s: %s", path, strerror(errno));
        if (step) log_line("%s: is missing; the lines of steps 1 to %lu are lost", path, step);
        return STATUS_OK;
    }
    if (!S_ISREG(info.st_mode)) FAIL(ARG, "%s: is a link or no regular file; expected a regular file", path);
    status_code st = STATUS_OK;
    char *event = NULL;
    TRY_DONE(metrics_reader_open(&w.in, path));
    TRY_DONE(go_through(&w, step, last));
    TRY_DONE(event_text(&event, step, last, w.dropped));
    st = w.out ? replace(&w, event) : append(path, event);
done:
    metrics_reader_close(w.in);
    blockfile_abandon(w.out);
    free(event);
    return st;
}
