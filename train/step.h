/* One optimizer step over a global batch, and the mean loss of held-out batches. */
#ifndef TALLY_STEP_H
#define TALLY_STEP_H

#include "train/data/loader.h"
#include "train/model/model.h"

typedef struct {
    double lr, beta1, beta2, eps, weight_decay, clip; /* clip 0: none */
    uint64_t seed;                                    /* of stochastic rounding */
    i64 micro_batches;                                /* of this rank, of the model's B*T tokens each */
} step_args;

typedef struct {
    double loss;      /* mean nats a token */
    double grad_norm; /* L2 of the mean gradient, before clipping */
    bool skipped;     /* loss or norm not finite: no update was made */
    double
        seconds; /* by the device's clock, from the end of the step before it, or from when it was queued where none was */
} step_result;

/* A step is queued, and its result collected later: up to DEVICE_SLOTS steps can be under way, so that a GPU never waits for
 * the host to look at a loss. (A CPU has it done when it is queued.) All ranks together. */
status step_submit(model *m, loader *l, const step_args *a);

/* The step's beginning, for its time; step_submit calls it. */
status step_begin(model *m);
/* The step's end, behind its micro-batches: the sums of all ranks, the gradients' norm over all pieces, the verdict, and the
 * optimizer on this rank's pieces. */
status step_update_weights(model *m, const step_args *a);

/* Waits for the oldest step that is queued and not collected. */
status step_collect(model *m, step_result *r);

/* Of a checkpoint: the optimizer has taken so many steps. */
status step_set_updates(model *m, uint64_t updates);

/* Mean nats a held-out token over `batches` batches (0: all), dealt to the ranks in turns; the same on every rank. NaN where
 * nothing is held out. */
status step_evaluate(model *m, const corpus *c, i64 batches, double *loss);

#endif
