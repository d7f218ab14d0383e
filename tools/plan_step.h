/* Predicts a training step on machines that are not here. The walk of a real step (train/model/walk.h) and the real sharding
 * engine run on a simulated communicator, under a virtual clock. The clock advances where the model would compute:
 *
 *   GEMMs     executed FLOPs in closed form (train/model/cost.h) / flops: of a block's forward, of its backward (gradients of
 *             activations and weights, what is recomputed), of the head (forward and backward together)
 *   memory    bytes / memory: the embedding's rows, zeroing, and the optimizer on this rank's pieces: gradients read twice
 *             (norm, update), moments and master weights read and written, weights written
 * Norms, activations and launches are not counted: set `flops` as far below the peak as they cost. */
#ifndef TALLY_PLAN_STEP_H
#define TALLY_PLAN_STEP_H

#include "tools/simulated_comm.h"
#include "train/model/model.h"

typedef struct {
    double flops;   /* FLOP/s that GEMMs reach on a device; INFINITY: they take no time */
    double memory;  /* bytes/s of its memory */
    network net;    /* a link of which a figure is NAN is not known: ARG if something crosses it */
    device *layout; /* whose memory layout is planned; NULL: a GPU's */
    bool blocking;  /* for comparison: no overlap; every collective is waited for at once */
} machine;

typedef struct {
    model_config c;
    model_shape s;
    parameters_options o; /* o.shard.ranks, without a world */
    i64 micro_batches;
} step_plan;

typedef struct {
    uint64_t step_ns, compute_ns, exposed_ns; /* step = compute + exposed */
    uint64_t communication_ns;                /* in which collectives were under way */
    uint64_t bytes_sent;                      /* by one rank */
    size_t memory[MEM_CATEGORIES];            /* of one device */
} prediction;

/* Predicts a step in the middle of a run: the slots hold what the step before has left in them. */
status plan_step_predict(prediction *p, const step_plan *plan, const machine *m);

/* memory of the prediction, without the simulation. ARG where the model has no such shape. */
status plan_step_memory(size_t memory[MEM_CATEGORIES], const step_plan *plan, const machine *m);

#endif
