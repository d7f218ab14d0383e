/* What a training step on machines that are not here would take: the step's own walk over its units (train/model/walk.h), with
 * the real sharding engine on a simulated communicator, under a virtual clock, which advances where the model would compute.
 *
 *   products  executed FLOPs in closed form (train/model/cost.h) / flops: of a block's forward, of its backward (gradients of
 *             activations and weights, what is recomputed), of the head (its forward and backward are one)
 *   memory    bytes / memory: the embedding's rows, zeroing, and the optimizer on this rank's pieces: gradients read twice
 *             (norm, update), moments and master weights read and written, weights written
 * Norms, activations and launches are not counted apart: they are part of what `flops` falls short of the peak. */
#ifndef TALLY_PREDICT_H
#define TALLY_PREDICT_H

#include "tools/simulated_comm.h"
#include "train/model/model.h"

typedef struct {
    double flops;  /* FLOP/s that products reach on a device; INFINITY: no time */
    double memory; /* bytes/s of its memory */
    network net;
    bool blocking; /* for comparison: no overlap, every collective is waited for */
} machine;

typedef struct {
    model_config c;
    model_shape s;
    parameters_options o; /* o.shard.ranks, without a world */
    i64 micro_batches;
} step_plan;

typedef struct {
    uint64_t step_ns, compute_ns, exposed_ns; /* step = compute + exposed */
    uint64_t communication_ns;                /* collectives were under way */
    uint64_t bytes_sent;                      /* by a rank */
    size_t memory[MEM_CATEGORIES];            /* of a device */
} prediction;

/* One step of many, when the slots hold what the step before has left in them. */
status predict_step(prediction *p, const step_plan *plan, const machine *m);

#endif
