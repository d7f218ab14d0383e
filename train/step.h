/* One optimizer step over a global batch, and the mean loss of held-out batches. */
#ifndef TALLY_STEP_H
#define TALLY_STEP_H

#include "train/data.h"
#include "train/model.h"

typedef struct {
    double lr, beta1, beta2, eps, weight_decay, clip; /* clip 0: none */
    uint64_t seed;                                    /* of stochastic rounding */
    i64 micro_batches;                                /* of the model's B*T tokens each */
} step_args;

typedef struct {
    double loss;      /* mean nats a token */
    double grad_norm; /* L2 of the mean gradient, before clipping */
    bool skipped;     /* loss or norm not finite: the weights are as before */
} step_result;

status train_step(model *m, loader *l, const step_args *a, step_result *r);

/* The optimizer's part, on the gradients that lie in m->state.grads. */
status update_weights(model *m, const step_args *a, step_result *r);

/* Mean nats a held-out token over `batches` batches (0: all). NaN where nothing is held out. */
status evaluate(model *m, const corpus *c, i64 batches, double *loss);

#endif
