/* The model: embedding, L blocks, final norm, head and loss; one micro-batch of B sequences of T tokens at a time.
 *
 * The loss is summed in nats over the micro-batch's counted targets. Backward accumulates gradients of
 * scale * (sum of nats), so that scale = 1 / (tokens of the global batch) makes them those of the mean. */
#ifndef TALLY_MODEL_H
#define TALLY_MODEL_H

#include "runtime/tokens.h"
#include "train/model/block.h"
#include "train/model/walk.h"

typedef struct {
    i64 B, T;
    recompute_policy recompute;
} model_shape;

typedef struct {
    device *dev;
    model_config c;
    model_shape s;
    parameters parameters;
    arena memory; /* of the state and of what follows */
    block_env env;
    int32_t *tokens, *targets; /* [B,T] on the device */
    block_activations *kept;   /* [L] */
    block_activations shared;
    block_gradients gradients;
    void *x;              /* [N,C] the last block's output */
    void *h;              /* [N,C] its norm; in training then its gradient */
    norm_statistics norm; /* of x */
    float *losses;        /* [N] */
    float *host_losses;   /* [N] */
    void *logits;
    double *nats; /* on the device: where model_forward_backward sums its losses; NULL: nowhere */
    /* NULL, or called before every unit in forward and every block in backward; what it fails with ends the pass there */
    status (*look)(void *context);
    void *look_context;
} model;

/* Lays out what a caller keeps in the model's memory, behind the model, in both passes (arena.h). */
typedef struct {
    void (*layout)(void *context, arena *a, const parameters *p);
    void *context;
} model_extra;

/* Allocates all memory at once, extra's too (NULL: none). options.training false: for model_loss only. */
status model_init(model *m, device *dev, const model_config *c, model_shape s, parameters_options options,
                  const model_extra *extra);
/* The bytes that model_init would allocate, by category. */
status model_plan(size_t bytes[MEM_CATEGORIES], device *dev, const model_config *c, model_shape s,
                  parameters_options options, const model_extra *extra);
void model_free(model *m);

/* b: on the host, of the model's B and T; its tokens and targets are checked. loss: sum of nats. */
status model_loss(model *m, double *loss, token_batch b);
/* One micro-batch, the first (gradients and *m->nats are =, else +=) and the last of its step (then gradients are
 * reduced over ranks, where that is not done for each; fsdp_finish_gradients completes it). loss: NULL, or the sum of
 * nats, for which the host waits. */
status model_forward_backward(model *m, double *loss, token_batch b, float scale, bool first, bool last);

#endif
