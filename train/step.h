/* One optimizer step over a global batch, and the mean loss of held-out batches. */
#ifndef TALLY_STEP_H
#define TALLY_STEP_H

#include "train/data.h"
#include "train/model.h"

typedef struct {
    double lr, beta1, beta2, eps, weight_decay, clip; /* clip 0: none */
    uint64_t seed;                                    /* of stochastic rounding */
    i64 micro_batches;                                /* of this rank, of the model's B*T tokens each */
} step_args;

typedef struct {
    double loss;      /* mean nats a token */
    double grad_norm; /* L2 of the mean gradient, before clipping */
    bool skipped;     /* loss or norm not finite: the weights are as before */
} step_result;

status train_step(model *m, loader *l, const step_args *a, step_result *r);

/* The step's end, all ranks together: r->loss from each rank's sum of nats, the gradients' norm over all pieces, the
 * optimizer on this rank's. */
status update_weights(model *m, const step_args *a, double nats, step_result *r);

/* Mean nats a held-out token over `batches` batches (0: all), dealt to the ranks in turns; the same on every rank. NaN where
 * nothing is held out. */
status evaluate(model *m, const corpus *c, i64 batches, double *loss);

#endif
