/* What `tally watch` shows of a run, read from its folder. The first updates read all of metrics.jsonl, later ones what was added
 * since; memory does not grow with the run. It reads while the run writes, and needs no lock. */
#ifndef TALLY_WATCH_RUN_H
#define TALLY_WATCH_RUN_H

#include "runtime/path.h"
#include "train/bill/metrics_reader.h"
#include "train/bill/spent.h"

enum { WATCH_BINS = 512, WATCH_RECENT = 100, WATCH_MODEL = 80 };

typedef enum { WATCH_LOSS, WATCH_VAL_LOSS, WATCH_RATE, WATCH_USE, WATCH_CURVES } watch_curve;

/* up to `width` steps in a row; mean of the known values: sum / known */
typedef struct {
    double from, to;
    i64 count;
    double sum[WATCH_CURVES], known[WATCH_CURVES];
} watch_bin;

/* a step; NaN: unknown */
typedef struct {
    double step, wall_s, usd, step_ms, tokens_per_s, exposed_ms, energy_j, skew, slowest_rank;
} watch_step;

typedef enum {
    WATCH_NOT_BEGUN, /* no step yet */
    WATCH_RUNNING,
    WATCH_KILLED, /* its process has ended without releasing the lock */
    WATCH_SILENT, /* locked, but without a sign of life for a while: stopped, or on a machine that is gone */
    WATCH_ENDED
} watch_state;

typedef struct {
    path_text run;
    metrics_reader *in;
    watch_bin bins[WATCH_BINS];
    int n;
    i64 width;
    watch_step recent[WATCH_RECENT]; /* the last steps; the newest is [(steps - 1) % WATCH_RECENT] */
    i64 steps;                       /* that were read */
    bool behind;                     /* there are more lines to read */
    i64 skipped, resumed;
    double val_loss, val_step;                  /* of the last evaluation; NaN: none */
    double usual_rate;                          /* median of the bins' tokens per second; NaN: none */
    double drift_time, drift_memory, drift_usd; /* from the plan, at the last evaluation: fractions; NaN: unknown */
    json_t *last;                               /* the newest line of a step; NULL: none */
    json_t *ledger;                             /* ledger.json, NULL: none */
    spent_totals now;                           /* the newest known totals of the run; ns 0: none */
    double planned;                             /* --steps, NaN: unknown */
    char model[WATCH_MODEL];
    watch_state state;
    double silent_s; /* since the last sign of life */
} watch_run;

status watch_run_open(watch_run *w, const char *run); /* DATA: `run` is no folder of a run */
status watch_run_update(watch_run *w);                /* reads some 10,000 lines at most; then w->behind is true */
void watch_run_close(watch_run *w);

const watch_step *watch_run_recent(const watch_run *w, i64 back); /* 0: the newest; NULL: not read or not kept */
double watch_run_usd_per_hour(const watch_run *w);                /* of the recent steps and what was between them */
double watch_run_seconds_per_step(const watch_run *w);            /* the same */

#endif
