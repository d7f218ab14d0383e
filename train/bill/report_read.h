/* What a report shows of a run, read from its folder into memory of a fixed size, however long the run was.
 *
 * Up to REPORT_BINS steps, each step is a point of the curves. In a longer run a bin holds `width` neighbouring steps, a power
 * of two, and has two points, its lowest and its highest value, so that no spike is lost. Medians are then taken over the first
 * step of each bin. Steps that were done again replace the lost ones; if width is above 1, up to width - 1 of the lost ones
 * stay. */
#ifndef TALLY_REPORT_READ_H
#define TALLY_REPORT_READ_H

#include "train/bill/report_columns.h"

enum { REPORT_BINS = 2048, REPORT_RESUMES = 64 };

typedef struct {
    double median, highest, last; /* of the known values; NaN: none is known */
} report_figures;

typedef struct {
    i64 steps, width;
    i64 n;                        /* points of the curves */
    double *x;                    /* [n] the step */
    double *curve[REPORT_CURVES]; /* [n]; NaN: unknown */
    report_figures of[REPORT_COLUMNS];
    i64 resumes; /* how often the run was resumed; the first REPORT_RESUMES have resumed_at */
    double resumed_at[REPORT_RESUMES];
    i64 skipped;                    /* steps without an update, because the loss or a gradient was not finite */
    json_t *ledger, *config, *plan; /* NULL: missing, or damaged, which is logged */
    char *folder;                   /* as it was given */
    const char *model;              /* from config.json, or the folder */
    char *sample;
    size_t sample_bytes;
} report_run;

status report_read(report_run *r, const char *folder); /* metrics.jsonl absent: DATA */
void report_read_free(report_run *r);

const char *report_read_text(const json_t *object, const char *key); /* NULL where absent or not a string */

#endif
