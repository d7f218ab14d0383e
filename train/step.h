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

/* What steps need besides the model: buffers in the model's memory, and how far the device has come. */
typedef struct {
    model *m;
    walk_sums sums;             /* of the step under way; sums.mine->nats is m->nats */
    step_verdict *verdict;      /* on the device, of the last step that the device has reached */
    void *norm_scratch;         /* gradnorm_scratch_bytes */
    uint64_t queued, collected; /* steps, since step_init */
} step_state;

/* Opens the model with the buffers of its steps behind it. model_free(m) frees both. m must stay where it is. */
status step_init(step_state *s, model *m, device *dev, const model_config *c, model_shape shape,
                 parameters_options options);
/* The bytes that step_init would allocate, by category. */
status step_memory(size_t bytes[MEM_CATEGORIES], device *dev, const model_config *c, model_shape shape,
                   parameters_options options);

/* A step is queued, and its result collected later: up to DEVICE_SLOTS steps can be under way, so that a GPU never waits for
 * the host to look at a loss. (A CPU has it done when it is queued.) All ranks together. */
status step_submit(step_state *s, loader *l, const step_args *a);

/* The step's beginning, for its time; step_submit calls it. */
status step_begin(step_state *s);
/* The step's end, behind its micro-batches: the sums of all ranks, the gradients' norm over all pieces, the verdict, and the
 * optimizer on this rank's pieces. */
status step_update_weights(step_state *s, const step_args *a);

/* Waits for the oldest step that is queued and not collected. */
status step_collect(step_state *s, step_result *r);
uint64_t step_under_way(const step_state *s); /* steps that are queued and not collected */

/* Of a checkpoint: the optimizer has taken so many steps. */
status step_set_updates(step_state *s, uint64_t updates);

/* Mean nats a held-out token over `batches` batches (0: all), dealt to the ranks in turns; the same on every rank. NaN where
 * nothing is held out. */
status step_evaluate(model *m, const corpus *c, i64 batches, double *loss);

#endif
