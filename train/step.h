/* An optimizer step over a global batch, and the mean loss of held-out batches. */
#ifndef TALLY_STEP_H
#define TALLY_STEP_H

#include "train/data/loader.h"
#include "train/model/model.h"

typedef struct {
    double lr, beta1, beta2, eps, weight_decay, clip; /* clip 0: no clipping */
    uint64_t seed;                                    /* of stochastic rounding */
    i64 micro_batches;                                /* of this rank, each of the model's B*T tokens */
} step_args;

typedef struct {
    double loss;      /* mean nats per token */
    double grad_norm; /* L2 of the mean gradient, before clipping */
    bool skipped;     /* loss or norm is not finite: no update was made */
    /* by the device's clock: from the end of the step before it; where none was queued, from step_begin */
    double seconds;
} step_result;

/* What steps need besides the model: buffers in the model's memory, and counts of steps. */
typedef struct {
    model *m;
    walk_sums sums;             /* of the newest step; m->nats points into sums.mine */
    step_verdict *verdict;      /* on the device, of the last step that it has finished */
    void *norm_scratch;         /* gradnorm_scratch_bytes */
    uint64_t queued, collected; /* steps, since step_init */
    flop_counter flops; /* of this rank's micro-batches in the newest step that step_submit queued, in closed form */
} step_state;

/* Opens the model with the buffers of its steps in its memory, and takes the memory of the steps' GEMMs: a step allocates nothing.
 * model_free(m) frees both. s points to m. */
status step_init(step_state *s, model *m, device *dev, const model_config *c, model_shape shape,
                 parameters_options options);
/* The bytes that step_init would allocate, by category, and beside them in MEM_GEMM what the GEMM library will hold of the device's
 * memory, and in MEM_CHECKPOINT what writing a checkpoint takes of it (0 on a GPU).
 * options.shard needs no world, only the number of ranks. Of dev only what device_dry_open reads is used: the device need not
 * exist. */
status step_memory(size_t bytes[MEM_CATEGORIES], device *dev, const model_config *c, model_shape shape,
                   parameters_options options);

/* Queues a step. step_collect returns its result later, so that a GPU need not wait until the host has read a loss. At most
 * DEVICE_SLOTS steps may be queued and not collected. On a CPU the step is finished on return. All ranks together. */
status step_submit(step_state *s, loader *l, const step_args *a);

/* The calls of a step on a dry device, micro-batches included: the device has counted their FLOPs, and its GEMM library knows what
 * they need. */
status step_dry_run(step_state *s, i64 micro_batches);

/* step_submit in parts: step_begin, which starts the step's clock; model_forward_backward of every micro-batch;
 * step_update_weights, which finishes the reductions, gathers the sums of all ranks, decides (verdict.h) and updates the
 * weights of this rank's pieces. */
status step_begin(step_state *s);
status step_update_weights(step_state *s, const step_args *a);

/* Waits for the oldest step that is not collected. ARG where there is none. */
status step_collect(step_state *s, step_result *r);
uint64_t step_under_way(const step_state *s); /* how many steps are queued and not collected */

/* After loading a checkpoint: how many steps the optimizer has taken. */
status step_set_updates(step_state *s, uint64_t updates);

/* loss: mean nats per held-out token over `batches` batches (0: all), which the ranks take in turns; the same on every rank.
 * NaN where nothing is held out. All ranks together. */
status step_evaluate(model *m, source *s, i64 batches, double *loss);

#endif
