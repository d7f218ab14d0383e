/* Declarations that the files of the trainer share: trainer_open.c (from options to a run that is ready), trainer.c (its steps),
 * trainer_folder.c (that no other process uses or replaces --out), trainer_stop.c (leaving a step or an evaluation after a
 * signal), trainer_log.c (the log and the record of a step), trainer_exports.c (metrics.jsonl and its copies for other programs),
 * trainer_calibration.c (what the run measures), trainer_resume.c. Every rank runs all of it. Whatever leads to a
 * collective (an evaluation, a checkpoint, the end) is decided from values that are the same on all ranks: options, the number
 * of the step, and what trainer_gather has gathered. */
#ifndef TALLY_TRAINER_PARTS_H
#define TALLY_TRAINER_PARTS_H

#include <stdio.h>

#include "parallel/job.h"
#include "runtime/contention.h"
#include "runtime/path.h"
#include "train/bill/calibration.h"
#include "train/bill/energy_window.h"
#include "train/bill/heartbeat.h"
#include "train/bill/ledger.h"
#include "train/bill/metrics.h"
#include "train/bill/run_plan.h"
#include "train/bill/prometheus.h"
#include "train/bill/tensorboard.h"
#include "train/bill/throttle.h"
#include "train/checkpoint/checkpoint.h"
#include "train/data/dataset.h"
#include "train/run_lock.h"
#include "train/step.h"
#include "train/trainer.h"

/* MOVED: the run can continue in the folder's new place. LOST: it was deleted, or another process has its lock. */
typedef enum { FOLDER_FINE, FOLDER_MOVED, FOLDER_WITHOUT_METRICS, FOLDER_LOST } folder_state;

/* in progress.json, of token files that do not name it */
#define TOKENIZER_NOT_KNOWN "not known"

/* what a rank sends to all others, in one all-gather per step */
typedef struct {
    ledger_part bill;
    uint64_t memory_bytes, threads;
    double save_s, eval_s;             /* of the last checkpoint and evaluation; before the first, an estimate */
    double step_s, waited_s, energy_j; /* of the last step */
    double energy_window_s;            /* the same */
    uint64_t bytes_sent;               /* the same */
    u128 flops_model, flops_executed;  /* the same */
    nvml_state gpu;                    /* at the end of the last step, of the GPU that this rank reads */
    uint64_t stop;                     /* the signal that this rank has received, or 0 */
    uint64_t folder;                   /* of rank 0: a folder_state */
    uint64_t save_is_due;              /* --checkpoint-minutes have passed since the last one; that of rank 0 counts */
    uint64_t measured_bytes;           /* trainer_measure_memory; 0 if unknown */
} rank_report;

/* a step in flight: queued, its result not yet collected */
typedef struct {
    step_args args;
    mix_position position; /* in the data, after the step */
    uint64_t bytes_sent;
    u128 flops_model, flops_executed;
} queued_step;

/* trainer_exports.c */
typedef struct {
    tensorboard *tensorboard; /* NULL: not asked for, or given up after an error */
    uint64_t prometheus_ns;   /* of the last write */
    bool prometheus_failed;
    step_record last; /* the last step; before the first of this attempt, what is known of the run */
} trainer_exports;

/* of this attempt, for calibration.json */
enum { MEASURED_STEPS = 4096 };
typedef struct {
    double *seconds; /* [MEASURED_STEPS] of the newest steps; step number n is [n % MEASURED_STEPS] */
    uint64_t steps_seen, steps,
        summed; /* steps: without the first; summed: of these, those that were not interrupted */
    double fastest_s, sum_s, waited_s, joules; /* the sums: of the summed steps */
    uint64_t data_ns, data_sum_ns;             /* data_ns: all data wait up to the last step */
    double flops_model, flops_executed;        /* of a step */
    profile now, sum;
    double evaluation_s, checkpoint_s, startup_s; /* of the last one; NAN: none */
} trainer_measures;

/* trainer_plan.c */
typedef struct {
    run_plan plan;        /* on rank 0 */
    run_plan_scope scope; /* of --plan FILE */
    contention began;     /* when this attempt began to train */
    double began_s;       /* of wall time */
} trainer_foretold;

typedef struct {
    const train_options *o;
    job job;
    comm *world, *peers; /* the same ranks: for host memory, and for memory of the device */
    device *dev;
    model_config c;
    tokenizer *tokenizer; /* NULL: that of the token files is not at hand */
    dataset data;
    loader *loader;
    model m;
    model_files files;     /* on rank 0: what a checkpoint copies */
    step_state step_state; /* of m */
    ledger bill;
    progress p;
    path_text newest; /* the checkpoint that the run continues; "": none */
    progress then;    /* of that checkpoint */
    i64 global_batch; /* tokens */
    run_lock *lock;   /* this and the next ones: on rank 0 only */
    FILE *metrics;
    path_text metrics_path;
    trainer_exports exports;
    char folder_trouble[1024]; /* the reason if mine.folder is not FOLDER_FINE */
    path_text moved_to;
    train_options moved;                  /* o with another `out` */
    double peak_datasheet, peak_measured; /* summed over all devices */
    double peak_assumed;     /* rate for estimates: peak_measured, or measured only for --budget; 0: unknown */
    double next_usd;         /* last estimate of the cost of the next step and a checkpoint after it */
    flop_counter step_flops; /* of all ranks, in closed form; documents that are masked take fewer */
    double val_loss;         /* of the last evaluation; NaN: none */
    bool begun;              /* the run was accepted and its files are written */
    spent_totals earlier;    /* rank 0: what RUN/heartbeat recorded */
    uint64_t first_step;     /* of this attempt */
    double first_wall_s;
    i64 skipped_in_row;
    uint64_t looks,
        look_every; /* trainer_look: calls since trainer_look_begin; every look_every-th exchanges signals */
    uint64_t *asked, asked_bytes;    /* [ranks] signals received; bytes sent to exchange them, in this attempt */
    uint64_t work_began[BOOKINGS];   /* bookings when the step in flight was queued */
    bool evaluation_left;            /* the last evaluation was interrupted */
    uint64_t saved_step;             /* newest checkpoint, of this attempt or the one it resumed; UINT64_MAX: none */
    uint64_t saved_ns;               /* when it was saved, or when this attempt began to train */
    queued_step steps[DEVICE_SLOTS]; /* in flight: step number n is [n % DEVICE_SLOTS] */
    uint64_t under_way;
    energy_window window;
    double since_j; /* joules and waiting at the start of the oldest step in flight */
    uint64_t since_waited_ns;
    throttle_watch throttle;
    trainer_measures measures;
    trainer_foretold foretold;
    size_t planned[MEM_CATEGORIES]; /* bytes of this rank: step_memory */
    uint64_t memory_before;         /* of this process, before the model; 0: its peak cannot be measured (host.h) */
    rank_report mine, *all;         /* all: [ranks], from the last trainer_gather */
    u128 bytes_sent;                /* in all steps of this attempt, by all ranks */
} trainer;

status trainer_open(trainer *t); /* the caller has set t->o; the rest is zero */
void trainer_close(trainer *t);

status trainer_lock(trainer *t); /* collective: makes and locks --out; fails if a rank does not see that folder */
/* Rank 0, before it appends to metrics.jsonl: sets mine.folder if the paths of the run no longer lead to its folder and its
 * metrics.jsonl. trainer_gather sends that to the other ranks. It is never reset to FOLDER_FINE. */
void trainer_look_at_folder(trainer *t);
/* Collective, if all[0].folder is not FOLDER_FINE: saves a checkpoint if possible, and fails with the reason. */
status trainer_end_without_folder(trainer *t, status_code (*save)(trainer *t));

status trainer_gather(trainer *t); /* collective: t->all = t->mine of every rank */
/* mine.measured_bytes = the most memory that this process has taken since it began to open the model, without that of a measured peak.
 * CPU only: other processes use a GPU's memory too. */
void trainer_measure_memory(trainer *t);
status trainer_measure_peak(trainer *t, double seconds,
                            double *flops_per_s); /* collective: the sum of the ranks, measured at the same time */

/* trainer_resume.c: ARG if the checkpoint has more steps than --steps; logs what the new options change */
status trainer_check_steps(const trainer *t, const char *folder, const progress *then);
void trainer_log_changes(const trainer *t);

/* trainer_data.c. Collective. */
status trainer_open_tokenizer(trainer *t);    /* not collective */
status trainer_open_data(trainer *t);         /* fails unless it is the same on all ranks */
status trainer_choose_vocabulary(trainer *t); /* sets t->c.V; DATA: the model's is too small for the data */
status trainer_open_loader(trainer *t);
/* Mean loss of the held-out part: of several sources, the mean by their weights of those that hold some out. NaN: none does. */
status trainer_evaluate(trainer *t, double *loss);
double trainer_evaluation_tokens(const trainer *t); /* of one evaluation */
bool trainer_holds_out(const trainer *t);
/* Into t->p: how much of each source is used at that position. */
void trainer_set_position(trainer *t, const mix_position *position);
void trainer_log_epochs(const trainer *t);

/* trainer_stop.c. Whether a signal stops the run, the same on all ranks: with several ranks, only a signal that some rank had
 * received at the last trainer_gather counts. */
bool trainer_stopped(const trainer *t);
/* Call trainer_look_begin before a step or an evaluation. In it the model calls trainer_look between units, which fails with
 * STOPPED, at the same unit on all ranks, after a signal. */
void trainer_look_begin(trainer *t);
status trainer_look(void *t);
/* trainer_lose_work books the time since trainer_begin_work as lost: the step was interrupted */
void trainer_begin_work(trainer *t);
void trainer_lose_work(trainer *t);

/* trainer_exports.c. On rank 0; trainer_exports_check does nothing on the others, and neither does trainer_exports_close. */
status
trainer_exports_check(const trainer *t); /* ARG if --tensorboard or --prometheus cannot be written; writes nothing */
status trainer_exports_open(trainer *t); /* after metrics.jsonl */
status trainer_exports_step(trainer *t, const step_record *r); /* appends to metrics.jsonl too */
void trainer_exports_close(trainer *t);

/* trainer_calibration.c. Not collective. begin before a step is queued, end when its record is made. */
status trainer_measure_open(trainer *t);
void trainer_measure_close(trainer *t);
void trainer_measure_begin(trainer *t);
void trainer_measure_end(trainer *t, const step_record *r);
bool trainer_measure_quartiles(const trainer *t, double quartiles[3]); /* seconds of a step; false: none is known yet */
bool trainer_measure_fill(calibration *c, const trainer *t);           /* false: too few steps yet */
/* on rank 0: RUN/calibration.json. A failure is a warning, as in trainer_plan_end: the run and its bill go on. */
void trainer_measure_write(const trainer *t);

/* trainer_plan.c. On rank 0; nothing on the others. */
status trainer_plan_check(trainer *t); /* reads --plan; writes nothing */
status trainer_plan_open(trainer *t);  /* writes RUN/plan.json */
void trainer_plan_step(trainer *t); /* after trainer_measure_end: makes the plan again once enough steps are measured */
void trainer_plan_drift(const trainer *t, step_record *r); /* after the evaluation of its step */
void trainer_plan_end(trainer *t);                         /* adds to RUN/plan.json what came true */
void trainer_plan_log_end(const trainer *t);

void trainer_log_start(const trainer *t);
/* of the step whose figures the last trainer_gather has gathered */
step_record trainer_log_record(const trainer *t, const step_args *a, const step_result *r);
void trainer_log_end(const trainer *t, train_outcome outcome);

static inline bool trainer_is_root(const trainer *t) { return t->world->rank == 0; }
static inline bool trainer_due(i64 every, uint64_t step) { return every > 0 && step % (uint64_t)every == 0; }

#endif
