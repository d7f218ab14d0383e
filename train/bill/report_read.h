/* What a report shows of a run, read from its folder in memory of a fixed size, however long the run was.
 *
 * Up to REPORT_BINS steps each is a point of the curves. Of longer runs neighbours are gathered: `width` steps, a power of two,
 * make a bin, which has two points: the lowest and the highest of its losses, so that no spike is lost. Medians are then
 * those of the first step of each bin. Steps that were done again replace the lost ones; where width is above 1, up to
 * width - 1 of the lost ones stay in. */
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
    double median, highest, last; /* of those known; NaN where none is */
} report_figures;

typedef struct {
    i64 steps, width;
    i64 n;                                                          /* points of the curves */
    double *x, *loss, *val_loss, *rate, *smooth_loss, *smooth_rate; /* [n]; x: the step; the rest NaN where not known */
    report_figures of[REPORT_COLUMNS];
    json_t *ledger; /* NULL where the run has none, or a damaged one, which log_line is told */
    char *model;    /* of config.json, or the run folder's path */
    char *sample;
    size_t sample_bytes;
} report_run;

status report_read(report_run *r, const char *folder); /* metrics.jsonl absent: DATA */
void report_read_free(report_run *r);

/* NaN where the field is absent or no number; nothing measured here is beyond 1e18, which still fits an integer */
double report_read_number(const json_t *object, const char *key);
const char *report_read_text(const json_t *object, const char *key); /* NULL where it is none */

#endif
