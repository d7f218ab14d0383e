/* The walk of a training step over a model's units. It makes every call of the sharding engine (parallel/fsdp.h); callbacks do
 * the computation. The model computes in them (model.c, train/step.c); the planner advances its clock (tools/plan_step.c).
 *
 *   micro-batch   begin; embedding, block 0 .. L-1 forward; head; block L-1 .. 0 backward; embedding backward
 *   evaluation    begin; embedding, block 0 .. L-1 forward; head
 *   step's end    the last reductions finish; sum_squares; the sums of all ranks are gathered; update
 * Around the callbacks of a unit: enter, gradients (in backward), leave, reduce (in backward). Where embedding and head are
 * tied, the head enters the embedding's unit too, and is the first to write its gradients.
 * All ranks together. A callback that fails ends the walk there. */
#ifndef TALLY_WALK_H
#define TALLY_WALK_H

#include "optim/verdict.h"
#include "train/model/parameters.h"

/* the unit that a callback computes */
typedef struct {
    i64 layer;       /* of a block: 0 .. L-1 */
    unit_views v;    /* its weights, valid during the callback; in backward its gradients too */
    bool accumulate; /* add gradients to what is there; false: overwrite it */
    /* the same for P_HEAD_W in the head and P_WTE in the embedding, which are one matrix where tied */
    bool accumulate_matrix;
} walk_unit;

typedef status walk_callback(void *context, const walk_unit *u);

typedef struct {
    status (*begin)(void *context); /* the first gathers are queued; may be NULL */
    /* before each unit in forward but the head, and each block in backward; may be NULL */
    status (*before_unit)(void *context);
    walk_callback *embed_forward, *block_forward;
    walk_callback *head_forward;                    /* before the walk waits for the head's gradients; may be NULL */
    walk_callback *head_loss;                       /* the loss and, in training, the head's backward */
    walk_callback *block_backward, *embed_backward; /* in training; embed_backward gets no weights */
} walk_ops;

typedef struct {
    parameters *s;
    const walk_ops *ops;
    void *context; /* of the callbacks */
} walk;

/* One micro-batch. first, last: whether it is the first, the last of its step. */
status walk_train(const walk *w, bool first, bool last);
status walk_evaluate(const walk *w); /* one batch, forward only */

/* what all ranks exchange at a step's end */
typedef struct {
    step_sums *mine, *all; /* on the device; all: [ranks], NULL on one rank */
    comm_event summed, gathered;
} walk_sums;

typedef struct {
    status (*sum_squares)(void *context); /* into mine->squares; may be NULL */
    status (*update)(void *context, const step_sums *all);
} walk_end_ops;

status walk_end_step(parameters *s, walk_sums *sums, const walk_end_ops *ops, void *context);

#endif
