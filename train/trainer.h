/* The training run: from options to a trained model in RUN/, with the bill live. What a step does is train_step.
 * All ranks of a job run it together; rank 0 alone writes RUN/'s own files, and speaks. */
#ifndef TALLY_TRAINER_H
#define TALLY_TRAINER_H

#include "layers/attention.h"
#include "optim/schedule.h"
#include "train/data/corpus.h"
#include "train/model/model.h"

typedef struct {
    const char *model; /* preset, config.json, or folder with one */
    text_source data;
    const char *out;
    const char *config_json; /* kept as RUN/config.json, once the run is sure to begin */
    const char *same;        /* on all ranks: see job_same.h */
    i64 steps, batch, seq_len;
    i64 global_batch; /* tokens a step, of all ranks; 0: one micro-batch a rank, or what the resumed run has */
    schedule lr;
    schedule lr_before;  /* of a resumed run: by the options it had before; else lr */
    const char *changes; /* of a resumed run: a line for each option that is another one now; may be NULL */
    uint64_t seed;
    parameters_options precision; /* its shard.world is the trainer's to set */
    double comm_timeout;          /* seconds that a collective may take */
    comm_kind comm;               /* see comm_open_device */
    const char *recompute;        /* none | selective | block | block:K */
    const char *device;
    bool gemm_search;         /* gemm.h */
    attention_kind attention; /* attention.h */
    int threads;
    double beta1, beta2, eps, weight_decay, clip; /* clip 0: none */
    i64 max_skipped;
    i64 eval_every;   /* steps; 0: at the end only */
    i64 eval_batches; /* 0: all held-out tokens */
    double val_fraction;
    i64 checkpoint_every;      /* steps; 0: none by steps */
    double checkpoint_minutes; /* since the last, or since training began; 0: none by time */
    i64 keep;
    bool resume;
    double price;  /* usd per device-hour, of which each rank has one; NaN: the table's */
    double budget; /* usd, NaN: none */
    double tdp_watts;
    double peak_seconds; /* of measuring the peak; 0: not */
} train_options;

typedef enum { TRAIN_DONE, TRAIN_OUT_OF_BUDGET, TRAIN_STOPPED } train_outcome;

/* A signal that any rank gets (stop.h) stops all of them: at the end of a short step; a long one and an evaluation are broken
 * off within a few seconds (trainer_stop.c). Then a checkpoint is saved of the last step that was finished. Where there are
 * several ranks, an error ends the process, and the job: see job_fail. */
status trainer_run(const train_options *o, train_outcome *outcome);

#endif
