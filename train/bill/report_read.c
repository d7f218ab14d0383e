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

static const char *const column_key[] = {"loss",        "val_loss", "tokens_per_s", "mfu", "mfu_of_measured_peak",
                                         "memory_bytes"};

typedef struct {
    double first, low, high, sum, last; /* of the known values, except first: of the first step of the bin */
    i64 known;
} figures;

typedef struct {
    double from, to, val_step; /* steps; val_step: step of the last val_loss */
    i64 count;
    figures of[REPORT_COLUMNS];
} bin;

typedef struct {
    bin *list;
    int n;
    i64 width;
} bins;

double report_read_number(const json_t *object, const char *key) {
    double v = json_number_or_nan(json_object_get(object, key));
    return fabs(v) < 1e18 ? v : NAN;
}

const char *report_read_text(const json_t *object, const char *key) {
    return json_string_or_null(json_object_get(object, key));
}

/* ---- steps into bins ---- */

static bin bin_of(double step, const json_t *json) {
    bin b = {.from = step, .to = step, .val_step = step, .count = 1};
    for (int k = 0; k < REPORT_COLUMNS; k++) {
        double x = report_read_number(json, column_key[k]);
        b.of[k] = (figures){x, x, x, isnan(x) ? 0 : x, x, !isnan(x)};
    }
    return b;
}

static void append(bin *a, const bin *b) {
    if (b->of[REPORT_VAL_LOSS].known) a->val_step = b->val_step;
    a->to = b->to;
    a->count += b->count;
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

static status read_metrics(bins *b, const char *path) {
    metrics_reader *in;
    metrics_line line;
    bool more = true;
    TRY(metrics_reader_open(&in, path));
    status_code st = STATUS_OK;
    for (;;) {
        TRY_DONE(metrics_reader_next(in, &line, &more));
        if (!more) break;
        if (!line.event) add_step(b, &line);
    }
done:
    metrics_reader_close(in);
    return st;
}

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

static void draw(report_run *r, const bins *b) {
    int points = b->width > 1 ? 2 : 1;
    for (int i = 0; i < b->n; i++) {
        const bin *from = &b->list[i];
        double loss = mean_around(b, REPORT_LOSS, i), rate = mean_around(b, REPORT_RATE, i);
        for (int second = 0; second < points; second++, r->n++) {
            bool is_last = second == points - 1;
            r->x[r->n] = !is_last ? from->from : from->of[REPORT_VAL_LOSS].known ? from->val_step : from->to;
            r->loss[r->n] = is_last ? from->of[REPORT_LOSS].high : from->of[REPORT_LOSS].low;
            r->rate[r->n] = is_last ? from->of[REPORT_RATE].high : from->of[REPORT_RATE].low;
            r->val_loss[r->n] = is_last ? from->of[REPORT_VAL_LOSS].last : NAN;
            r->smooth_loss[r->n] = loss;
            r->smooth_rate[r->n] = rate;
        }
    }
}

static status fill(report_run *r, const bins *b) {
    enum { CURVES = 6, POINTS = 2 * REPORT_BINS };
    double *room = malloc(CURVES * POINTS * sizeof *room);
    if (!room) FAIL(MEM, "no memory for the report");
    for (int k = 0; k < REPORT_COLUMNS; k++) r->of[k] = summarise(b, (report_column)k, room);
    r->x = room, r->loss = room + POINTS, r->val_loss = room + 2 * POINTS, r->rate = room + 3 * POINTS;
    r->smooth_loss = room + 4 * POINTS, r->smooth_rate = room + 5 * POINTS;
    r->width = b->width;
    for (int i = 0; i < b->n; i++) r->steps += b->list[i].count;
    draw(r, b);
    return STATUS_OK;
}

static status read_steps(report_run *r, const char *path) {
    bins b = {.list = malloc(REPORT_BINS * sizeof *b.list), .width = 1};
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
    free(r->model);
    free(r->sample);
}

status report_read(report_run *r, const char *folder) {
    *r = (report_run){0};
    json_t *config = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(read_steps(r, path_join(folder, "metrics.jsonl").text));
    TRY_DONE(read_object(&r->ledger, path_join(folder, "ledger.json").text));
    TRY_DONE(read_object(&config, path_join(folder, "config.json").text));
    TRY_DONE(read_sample(r, path_join(folder, "sample.txt").text));
    const char *model = report_read_text(config, "model");
    if (!(r->model = strdup(model ? model : folder))) FAIL_DONE(MEM, "%s: no memory for the model's name", folder);
done:
    json_decref(config);
    if (st) report_read_free(r);
    return st;
}
