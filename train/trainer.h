/* A training run: from options to a trained model in the folder RUN/, with the cost of every step. step.h does the steps. All
 * ranks of a job run it together; only rank 0 writes the log and the files of RUN/, apart from shards of checkpoints. */
#ifndef TALLY_TRAINER_H
#define TALLY_TRAINER_H

#include "layers/attention.h"
#include "optim/schedule.h"
#include "train/bill/ledger.h"
#include "train/data/corpus.h"
#include "train/model/model.h"

typedef struct {
    const char *model; /* preset, config.json, or folder with one */
    const char *init;  /* NULL: random weights; else a folder or file with the weights of `model`: see weights_read */
    text_source data;
    const char *tokenizer; /* see tokenizer_open; NULL: the model's, else bytes */
    const char *out;
    const char *config_json; /* written to RUN/config.json once nothing can refuse the run any more */
    const char *same;        /* text that must be the same on all ranks: see job_same.h */
    bool mask_documents;     /* attention stays inside a document, where positions begin anew */
    i64 steps, batch, seq_len;
    i64 global_batch; /* tokens in a step, over all ranks; 0: one micro-batch per rank, or that of the resumed run */
    schedule lr;
    schedule lr_before;  /* of a resumed run: the schedule of its stored options; else lr */
    const char *changes; /* of a resumed run: a line for each option that changed; may be NULL */
    uint64_t seed;
    parameters_options precision; /* the trainer sets shard.world */
    double comm_timeout;          /* seconds; see comm_open */
    comm_kind comm;               /* see comm_open_device */
    const char *recompute;        /* none | selective | block | block:K */
    const char *device;
    bool gemm_search;         /* gemm.h */
    attention_kind attention; /* attention.h */
    int threads;
    double beta1, beta2, eps, weight_decay, clip; /* clip 0: disabled */
    i64 max_skipped;
    i64 eval_every;   /* steps; 0: only at the end */
    i64 eval_batches; /* 0: all held-out tokens */
    double val_fraction;
    double stop_at_loss;       /* held-out loss of an evaluation that ends the run; 0: none does */
    i64 checkpoint_every;      /* steps; 0: disabled */
    double checkpoint_minutes; /* since the last checkpoint, or since training began; 0: disabled */
    i64 keep;
    const char *plan; /* what `tally plan --json` printed for this run; NULL: see trainer_plan.c */
    bool resume;
    ledger_terms terms;      /* what this rank's machine costs */
    double budget;           /* usd, NaN: none */
    double peak_seconds;     /* of measuring the peak; 0: disabled */
    const char *tensorboard; /* folder for an event file, NULL: none: tensorboard.h */
    const char *prometheus;  /* file, NULL: none: prometheus.h */
} train_options;

typedef enum { TRAIN_DONE, TRAIN_REACHED_LOSS, TRAIN_OUT_OF_BUDGET, TRAIN_STOPPED } train_outcome;

/* A signal to any rank (stop.h) stops all ranks: after the step if steps are short, else within a few seconds, in the middle of
 * a step or an evaluation (trainer_stop.c). Then a checkpoint of the last complete step is saved. With several ranks, an error
 * ends the process and the job: see job_fail. */
status trainer_run(const train_options *o, train_outcome *outcome);

#endif
