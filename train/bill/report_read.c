#include "train/bill/report_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/file.h"
#include "runtime/log.h"
#include "runtime/path.h"
#include "train/bill/metrics_reader.h"

enum { LARGEST = 1 << 20 }; /* size of a file that the page shows, in bytes */

typedef struct {
    double first, low, high, sum, last; /* of the known values, except first: of the first step of the bin */
    i64 known;
} figures;

typedef struct {
    double from, to, val_step; /* steps; val_step: step of the last val_loss */
    i64 count, skipped;
    figures of[REPORT_COLUMNS];
} bin;

typedef struct {
    bin *list;
    int n;
    i64 width;
    report_run *r; /* for what is counted, not binned */
} bins;

const char *report_read_text(const json_t *object, const char *key) {
    return json_string_or_null(json_object_get(object, key));
}

/* ---- steps into bins ---- */

static bin bin_of(double step, const json_t *json) {
    bin b = {.from = step, .to = step, .val_step = step, .count = 1};
    b.skipped = json_is_true(json_object_get(json, "skipped"));
    for (int k = 0; k < REPORT_COLUMNS; k++) {
        double x = report_columns_value(json, (report_column)k);
        b.of[k] = (figures){x, x, x, isnan(x) ? 0 : x, x, !isnan(x)};
    }
    return b;
}

static void append(bin *a, const bin *b) {
    if (b->of[REPORT_VAL_LOSS].known) a->val_step = b->val_step;
    a->to = b->to;
    a->count += b->count;
    a->skipped += b->skipped;
    for (int k = 0; k < REPORT_COLUMNS; k++) {
        figures *x = &a->of[k];
        const figures *y = &b->of[k];
        x->low = fmin(x->low, y->low); /* ignores NaN */
        x->high = fmax(x->high, y->high);
        x->sum += y->sum;
        x->known += y->known;
        if (y->known) x->last = y->last;
    }
}

static void widen(bins *b) {
    for (int i = 0; i < b->n / 2; i++) {
        b->list[i] = b->list[2 * i];
        append(&b->list[i], &b->list[2 * i + 1]);
    }
    b->n /= 2;
    b->width *= 2;
}

static void add_step(bins *b, const metrics_line *line) {
    double step = line->step;
    if (isnan(step)) step = b->n ? b->list[b->n - 1].to + 1 : 0;
    while (b->n && b->list[b->n - 1].from >= step) b->n--; /* steps that were lost in a crash and done again */
    bin one = bin_of(step, line->json), *last = b->n ? &b->list[b->n - 1] : NULL;
    if (last && last->count < b->width) {
        append(last, &one);
        return;
    }
    if (b->n == REPORT_BINS) {
        widen(b);
        add_step(b, line);
        return;
    }
    b->list[b->n++] = one;
}

static void note_resume(report_run *r, const metrics_line *line) {
    if (isnan(line->step)) return;
    if (r->resumes < REPORT_RESUMES) r->resumed_at[r->resumes] = line->step;
    r->resumes++;
}

static status read_metrics(bins *b, const char *path) {
    metrics_reader *in;
    metrics_line line;
    bool more = true;
    TRY(metrics_reader_open(&in, path));
    status_code st = STATUS_OK;
    for (;;) {
        TRY_DONE(metrics_reader_next(in, &line, &more));
        if (!more) break;
        if (line.event) note_resume(b->r, &line);
        else add_step(b, &line);
    }
done:
    metrics_reader_close(in);
    return st;
}

/* Only evaluations have these: of a bin, the last one is drawn. */
static const report_column evaluated[] = {REPORT_VAL_LOSS, REPORT_DRIFT_TIME, REPORT_DRIFT_MEMORY, REPORT_DRIFT_USD};
enum { EVALUATED = sizeof evaluated / sizeof *evaluated };

/* Of which REPORT_SMOOTH_LOSS and so on are means. */
static const report_column smoothed[] = {REPORT_LOSS, REPORT_RATE, REPORT_NORM, REPORT_WAITING, REPORT_WATTS};
enum { SMOOTHED = sizeof smoothed / sizeof *smoothed };

/* ---- bins into curves and figures ---- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static report_figures summarise(const bins *b, report_column k, double *room) {
    report_figures f = {NAN, NAN, NAN};
    int count = 0;
    for (int i = 0; i < b->n; i++) {
        const figures *x = &b->list[i].of[k];
        if (!isnan(x->first)) room[count++] = x->first;
        f.highest = fmax(f.highest, x->high);
        if (x->known) f.last = x->last;
    }
    qsort(room, (size_t)count, sizeof *room, by_value);
    if (count) f.median = (room[(count - 1) / 2] + room[count / 2]) / 2;
    return f;
}

/* Mean over a window that narrows towards both ends, so that it stays centred and does not shift the steep beginning. */
static double mean_around(const bins *b, report_column k, int i) {
    int half = b->n / 60, to_edge = i < b->n - 1 - i ? i : b->n - 1 - i;
    double sum = 0, known = 0;
    if (half > to_edge) half = to_edge;
    for (int j = i - half; j <= i + half; j++) {
        sum += b->list[j].of[k].sum;
        known += (double)b->list[j].of[k].known;
    }
    return known > 0 ? sum / known : NAN;
}

/* A bin of several steps has two points: the lowest and the highest value. Time, tokens and money only grow, so these are the
 * first and the last value too. */
static void draw(report_run *r, const bins *b) {
    int points = b->width > 1 ? 2 : 1;
    for (int i = 0; i < b->n; i++) {
        const bin *from = &b->list[i];
        double smooth[SMOOTHED];
        for (int k = 0; k < SMOOTHED; k++) smooth[k] = mean_around(b, smoothed[k], i);
        for (int second = 0; second < points; second++, r->n++) {
            bool is_last = second == points - 1;
            r->x[r->n] = !is_last ? from->from : from->of[REPORT_VAL_LOSS].known ? from->val_step : from->to;
            for (int k = 0; k < REPORT_COLUMNS; k++) r->curve[k][r->n] = is_last ? from->of[k].high : from->of[k].low;
            for (int k = 0; k < EVALUATED; k++)
                r->curve[evaluated[k]][r->n] = is_last ? from->of[evaluated[k]].last : NAN;
            for (int k = 0; k < SMOOTHED; k++) r->curve[REPORT_SMOOTH_LOSS + k][r->n] = smooth[k];
        }
    }
}

static status fill(report_run *r, const bins *b) {
    enum { POINTS = 2 * REPORT_BINS };
    double *room = malloc((1 + REPORT_CURVES) * POINTS * sizeof *room);
    if (!room) FAIL(MEM, "no memory for the report");
    for (int k = 0; k < REPORT_COLUMNS; k++) r->of[k] = summarise(b, (report_column)k, room);
    r->x = room;
    for (int k = 0; k < REPORT_CURVES; k++) r->curve[k] = room + (1 + k) * POINTS;
    r->width = b->width;
    for (int i = 0; i < b->n; i++) {
        r->steps += b->list[i].count;
        r->skipped += b->list[i].skipped;
    }
    draw(r, b);
    return STATUS_OK;
}

static status read_steps(report_run *r, const char *path) {
    bins b = {.list = malloc(REPORT_BINS * sizeof *b.list), .width = 1, .r = r};
    if (!b.list) FAIL(MEM, "no memory for the report");
    status_code st = read_metrics(&b, path);
    if (!st) st = fill(r, &b);
    free(b.list);
    return st;
}

/* ---- the other files ---- */

static status parse_object(json_t **json, const char *path) {
    TRY(json_read_file(json, path));
    if (json_is_object(*json)) return STATUS_OK;
    json_decref(*json);
    *json = NULL;
    FAIL(DATA, "%s: expected a JSON object", path);
}

/* Logs a file that cannot be shown. */
static status leave_out(status_code st) {
    if (st == STATUS_DATA) log_line("%s; the report leaves it out", status_message());
    return st == STATUS_DATA ? STATUS_OK : st;
}

/* *json stays NULL if the file is missing or damaged. */
static status read_object(json_t **json, const char *path) {
    return access(path, F_OK) ? STATUS_OK : leave_out(parse_object(json, path));
}

static status read_sample(report_run *r, const char *path) {
    return access(path, F_OK) ? STATUS_OK : leave_out(file_read_up_to(LARGEST, path, &r->sample, &r->sample_bytes));
}

void report_read_free(report_run *r) {
    free(r->x); /* and all curves */
    json_decref(r->ledger);
    json_decref(r->config);
    json_decref(r->plan);
    free(r->folder);
    free(r->sample);
}

status report_read(report_run *r, const char *folder) {
    *r = (report_run){.folder = strdup(folder)};
    status_code st = STATUS_OK;
    if (!r->folder) FAIL_DONE(MEM, "%s: no memory for the report", folder);
    TRY_DONE(read_steps(r, path_join(folder, "metrics.jsonl").text));
    TRY_DONE(read_object(&r->ledger, path_join(folder, "ledger.json").text));
    TRY_DONE(read_object(&r->config, path_join(folder, "config.json").text));
    TRY_DONE(read_object(&r->plan, path_join(folder, "plan.json").text));
    TRY_DONE(read_sample(r, path_join(folder, "sample.txt").text));
    r->model = report_read_text(r->config, "model");
    if (!r->model) r->model = r->folder;
done:
    if (st) report_read_free(r);
    return st;
}
