/* The way of a training step through a model's units, with every call of the sharding engine (parallel/fsdp.h) that it takes. What is computed at
 * a unit is the caller's, by callbacks: the model computes (model.c, train/step.c), the planner lets virtual time pass (tools/predict.c).
 *
 *   micro-batch   begin; embed, block 0 .. L-1 forward; head; block L-1 .. 0 backward; embed backward
 *   evaluation    begin; embed, block 0 .. L-1 forward; head
 *   step's end    the last reductions; sum_squares; the sums of all ranks are gathered; update
 * Around a unit's callbacks: enter, gradients (in backward), leave, reduce (in backward). Where embedding and head are tied, the embedding's unit is
 * entered for the head too, and the head begins its gradients. All ranks together. The first callback that fails ends the walk. */
#ifndef TALLY_WALK_H
#define TALLY_WALK_H

#include "optim/verdict.h"
#include "train/model/parameters.h"

/* the unit that a callback is at */
typedef struct {
    i64 layer;       /* of a block */
    unit_views v;    /* its weights, while the callback runs; in backward its gradients too */
    bool accumulate; /* gradients go on top of what is there; else they overwrite it */
    bool
        accumulate_matrix; /* the same of P_HEAD_W in the head and of P_WTE in the embedding: one matrix where they are tied */
} walk_unit;

typedef status walk_callback(void *context, const walk_unit *u);

typedef struct {
    status (*begin)(void *context);       /* the first gathers are queued; NULL: nothing to do */
    status (*before_unit)(void *context); /* before a unit in forward and a block in backward; NULL: nothing to do */
    walk_callback *embed_forward, *block_forward;
    walk_callback *head_forward;                    /* before the head's gradients are asked for; NULL: nothing to do */
    walk_callback *head_loss;                       /* the loss and, in training, the head's backward */
    walk_callback *block_backward, *embed_backward; /* in training; embed_backward has no weights */
} walk_ops;

typedef struct {
    parameters *s;
    const walk_ops *ops;
    void *context; /* of the callbacks */
} walk;

/* first, last: whether the micro-batch is that of its step */
status walk_train(const walk *w, bool first, bool last);
status walk_evaluate(const walk *w);

/* what the ranks tell each other at a step's end */
typedef struct {
    step_sums *mine, *all; /* on the device; all: [ranks], NULL where alone */
    comm_event summed, gathered;
} walk_sums;

typedef struct {
    status (*sum_squares)(void *context); /* into mine->squares; NULL: nothing to do */
    status (*update)(void *context, const step_sums *all);
} walk_end_ops;

status walk_end_step(parameters *s, walk_sums *sums, const walk_end_ops *ops, void *context);

#endif
