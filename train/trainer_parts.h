/* What the files of the trainer share: trainer_open.c (from options to a run that is ready), trainer.c (its steps),
 * trainer_folder.c (that --out is this run's alone), trainer_stop.c (leaving a step or an evaluation at a signal),
 * trainer_log.c (the log and the record of a step). Every rank runs all of it. What leads to a collective (an evaluation, a
 * checkpoint, the end) is decided from options, the count of steps, and what trainer_gather has given to all ranks alike. */
#ifndef TALLY_TRAINER_PARTS_H
#define TALLY_TRAINER_PARTS_H

#include <stdio.h>

#include "parallel/job.h"
#include "runtime/path.h"
#include "train/bill/energy_window.h"
#include "train/bill/heartbeat.h"
#include "train/bill/ledger.h"
#include "train/bill/metrics.h"
#include "train/bill/throttle.h"
#include "train/checkpoint/checkpoint.h"
#include "train/run_lock.h"
#include "train/step.h"
#include "train/trainer.h"

/* moved: it can go on in its new place; lost: deleted, or another process has the lock */
typedef enum { FOLDER_FINE, FOLDER_MOVED, FOLDER_WITHOUT_METRICS, FOLDER_LOST } folder_state;

/* what a rank tells the others: all of it in one exchange a step */
typedef struct {
    ledger_part bill;
    uint64_t memory_bytes, threads;
    double save_s, eval_s;             /* what the last checkpoint and evaluation took; before the first, an estimate */
    double step_s, waited_s, energy_j; /* of the last step */
    double energy_window_s;            /* the same */
    uint64_t bytes_sent;               /* the same */
    u128 flops_executed;               /* the same */
    nvml_state gpu;                    /* at the end of the last step, of the GPU that this rank reads */
    uint64_t stop;                     /* the signal that has come, or 0 */
    uint64_t folder;                   /* of rank 0: a folder_state */
    uint64_t save_is_due;              /* --checkpoint-minutes have passed since the last; rank 0's clock decides */
} rank_report;

/* a step that is queued, its result not yet collected */
typedef struct {
    step_args args;
    uint64_t windows; /* of the data, once it is done */
    uint64_t bytes_sent;
    u128 flops_executed;
} queued_step;

typedef struct {
    const train_options *o;
    job job;
    comm *world, *peers; /* the same ranks, of host memory and of the device's */
    device *dev;
    model_config c;
    corpus data;
    loader *loader;
    model m;
    step_state step_state; /* of m */
    ledger bill;
    progress p;
    i64 global_batch; /* tokens */
    run_lock *lock;   /* rank 0's, and what follows */
    FILE *metrics;
    path_text metrics_path;
    char folder_trouble[1024]; /* what has happened where mine.folder is not FOLDER_FINE */
    path_text moved_to;
    train_options moved;                  /* o, but for `out` */
    double peak_datasheet, peak_measured; /* of all ranks' devices */
    double
        peak_assumed; /* what is not known yet is taken to run at: peak_measured, or measured for --budget alone; 0 */
    double next_usd;  /* what the next step and a checkpoint behind it were last thought to cost */
    flop_counter step_flops; /* closed form, of all ranks */
    double val_loss;         /* the last one measured; NaN */
    bool begun;              /* nothing has refused the run: its files are written */
    spent_totals earlier;    /* rank 0: what RUN/heartbeat had */
    uint64_t first_step;     /* of this attempt */
    double first_wall_s;
    i64 skipped_in_row;
    uint64_t looks, look_every;    /* trainer_look: calls since trainer_look_begin, and of how many one asks */
    uint64_t *asked, asked_bytes;  /* [ranks] the signals they have got; what it took to ask, of this attempt */
    uint64_t work_began[BOOKINGS]; /* what was booked when the step under way was queued */
    bool evaluation_left;          /* the last one was broken off */
    uint64_t saved_step;           /* the newest checkpoint of this attempt, or that it began with; UINT64_MAX: none */
    uint64_t saved_ns;             /* when it was saved, or the attempt began to train */
    queued_step steps[DEVICE_SLOTS]; /* that under way as number n is [n % DEVICE_SLOTS] */
    uint64_t under_way;
    energy_window window;
    double since_j; /* from what sums the oldest one under way counts */
    uint64_t since_waited_ns;
    throttle_watch throttle;
    rank_report mine, *all; /* all: [ranks], as of the last trainer_gather */
    u128 bytes_sent;        /* in all steps of this attempt, by all ranks */
} trainer;

status trainer_open(trainer *t); /* t->o is set, the rest is zero */
void trainer_close(trainer *t);

status trainer_lock(trainer *t); /* makes and locks --out, which all ranks must see; all ranks together */
/* Before a line of metrics: whether the paths of the run still name its folder and metrics.jsonl. Of rank 0, which tells the
 * others by trainer_gather. Once they do not, that stays so. */
void trainer_look_at_folder(trainer *t);
/* Where all[0].folder is not FOLDER_FINE: saves what can be saved, and fails with what has happened. All ranks together. */
status trainer_end_without_folder(trainer *t, status_code (*save)(trainer *t));

status trainer_gather(trainer *t); /* all ranks together */
status trainer_measure_peak(trainer *t, double seconds,
                            double *flops_per_s); /* all ranks at the same time; their sum */

/* trainer_resume.c: whether the options leave anything to do after checkpoint `then`; and what is another one now */
status trainer_check_steps(const trainer *t, const char *folder, const progress *then);
void trainer_log_changes(const trainer *t);

/* trainer_stop.c. Whether a signal stops the run: alone, one that is here now. Else one that any rank had got when all last
 * told of themselves: one that has come since is not known to all. */
bool trainer_stopped(const trainer *t);
/* A step or an evaluation begins; within it the model calls trainer_look between units: STOPPED on all ranks alike. */
void trainer_look_begin(trainer *t);
status trainer_look(void *t);
/* what is booked from begin to lose was for nothing: a step that was broken off */
void trainer_begin_work(trainer *t);
void trainer_lose_work(trainer *t);

void trainer_log_start(const trainer *t);
/* of the step that trainer_gather was told of last */
step_record trainer_log_record(const trainer *t, const step_args *a, const step_result *r);
void trainer_log_end(const trainer *t, train_outcome outcome);

static inline bool trainer_is_root(const trainer *t) { return t->world->rank == 0; }
static inline bool trainer_due(i64 every, uint64_t step) { return every > 0 && step % (uint64_t)every == 0; }

#endif
