/* The model: embedding, L blocks, final norm, head and loss. It computes one micro-batch of B sequences of T tokens at a time.
 *
 * The loss is the sum of nats over the counted targets of the micro-batch. Gradients are those of scale * loss: with
 * scale = 1 / (tokens of the global batch) they add up to the gradients of the mean. */
#ifndef TALLY_MODEL_H
#define TALLY_MODEL_H

#include "runtime/tokens.h"
#include "train/model/block.h"
#include "train/model/walk.h"

typedef struct {
    i64 B, T;
    recompute_policy recompute;
    bool documents; /* batches may have starts (tokens.h) */
} model_shape;

typedef struct {
    device *dev;
    model_config c;
    model_shape s;
    parameters parameters;
    arena memory; /* holds the parameters and the buffers below */
    block_env env;
    int32_t *tokens, *targets; /* [B,T] on the device */
    int32_t *starts;           /* [B,T] on the device, with shape.documents */
    block_activations *kept;   /* [L] */
    block_activations shared;
    block_gradients gradients;
    void *x;              /* [N,C] the last block's output */
    void *h;              /* [N,C] norm of x; backward overwrites it with the gradient */
    norm_statistics norm; /* of x */
    float *losses;        /* [N] */
    float *host_losses;   /* [N] */
    void *logits;
    double *nats; /* on the device: model_forward_backward adds its losses here; NULL: it does not */
    /* Called before each unit that walk.h names for before_unit; an error ends the pass there. May be NULL. */
    status (*look)(void *context);
    void *look_context;
} model;

/* Buffers of the caller in the model's memory. layout takes them from the arena, in both passes (arena.h). */
typedef struct {
    void (*layout)(void *context, arena *a, const parameters *p);
    void *context;
} model_extra;

/* Allocates all memory at once, with what extra lays out; extra may be NULL. With options.training false only model_loss may
 * be called. */
status model_init(model *m, device *dev, const model_config *c, model_shape s, parameters_options options,
                  const model_extra *extra);
/* The bytes that model_init would allocate, by category. */
status model_plan(size_t bytes[MEM_CATEGORIES], device *dev, const model_config *c, model_shape s,
                  parameters_options options, const model_extra *extra);
void model_free(model *m);

/* b: on the host, with the model's B and T. DATA where a token, target or start is out of range. loss: the sum of nats. */
status model_loss(model *m, double *loss, token_batch b);
/* One micro-batch. first: it is the first of its step; gradients and *m->nats are =, else +=. last: it is the last of its step;
 * gradients that are reduced once a step are reduced now. fsdp_finish_gradients waits for the reductions.
 * loss: the sum of nats, for which the host waits; may be NULL. */
status model_forward_backward(model *m, double *loss, token_batch b, float scale, bool first, bool last);
/* The same calls on a dry device (runtime/device_dry.h), without a batch. */
status model_dry_run(model *m, bool first, bool last);

#endif
