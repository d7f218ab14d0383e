/* What a report shows of a run, read from its folder into memory of a fixed size, however long the run was.
 *
 * Up to REPORT_BINS steps, each step is a point of the curves. In a longer run a bin holds `width` neighbouring steps, a power
 * of two, and has two points, its lowest and its highest value, so that no spike is lost. Medians are then taken over the first
 * step of each bin. Steps that were done again replace the lost ones; if width is above 1, up to width - 1 of the lost ones
 * stay. */
#ifndef TALLY_REPORT_READ_H
#define TALLY_REPORT_READ_H

#include "runtime/json.h"

enum { REPORT_BINS = 8192 };

typedef enum {
    REPORT_LOSS,
    REPORT_VAL_LOSS,
    REPORT_RATE,
    REPORT_MFU,
    REPORT_MFU_MEASURED,
    REPORT_MEMORY,
    REPORT_COLUMNS
} report_column;

typedef struct {
    double median, highest, last; /* of the known values; NaN: none is known */
} report_figures;

typedef struct {
    i64 steps, width;
    i64 n;                                                          /* points of the curves */
    double *x, *loss, *val_loss, *rate, *smooth_loss, *smooth_rate; /* [n]; x: the step; else NaN: unknown */
    report_figures of[REPORT_COLUMNS];
    json_t *ledger; /* NULL: missing, or damaged, which is logged */
    char *model;    /* from config.json, or the path of the run folder */
    char *sample;
    size_t sample_bytes;
} report_run;

status report_read(report_run *r, const char *folder); /* metrics.jsonl absent: DATA */
void report_read_free(report_run *r);

/* NaN where the field is absent, not a number, or beyond 1e18, which no measured value reaches and which fits an integer */
double report_read_number(const json_t *object, const char *key);
const char *report_read_text(const json_t *object, const char *key); /* NULL where absent or not a string */

#endif
