/* The training state of a model: flat buffers over all units, of which every parameter is a view. The weights and gradients
 * are the sharding engine's (parallel/fsdp.h); this rank's pieces of the optimizer's state lie here.
 *
 *   weights  dtype t (bf16 or f32): what forward and backward read
 *   master   f32, only where t is BF16 and it is asked for: what the optimizer updates
 *   grads    f32       m, v  dtype moments (f32 or bf16)
 * Padding is zero in every buffer and stays so. */
#ifndef TALLY_PARAMETERS_H
#define TALLY_PARAMETERS_H

#include "parallel/fsdp.h"
#include "train/model/param_table.h"

typedef struct {
    dtype t;     /* weights and activations */
    bool master; /* f32 master weights (ignored where t is F32: the weights are it) */
    dtype moments;
    bool training; /* else weights only */
    shard_options shard;
} parameters_options;

typedef struct {
    device *dev;
    param_table p;
    parameters_options o;
    fsdp f;
    void *weights; /* all units, or NULL where they are sharded: then only parameters_enter gives them */
    float *grads;  /* all units, or NULL */
    float *master; /* master, m, v: this rank's pieces of all units, one behind the other: see owned_part.at */
    void *m, *v;
    uint64_t step; /* optimizer steps taken */
} parameters;

/* pointers to the parameters of one unit, NULL where the model has none */
typedef struct {
    const void *w[P_KINDS];
    float *dw[P_KINDS]; /* NULL where not asked for */
} unit_views;

/* What this rank owns of a parameter: its elements [first, first + count), count 0 where none */
typedef struct {
    i64 first, count;
    i64 at;        /* of element `first`, in elements of master, m and v */
    void *weights; /* of element `first`, dtype t */
    float *grads;  /* the same; NULL without training; valid after fsdp_finish_gradients */
} owned_part;

status parameters_init(parameters *s, device *dev, const model_config *c, parameters_options o);
void parameters_layout(parameters *s, arena *a); /* both passes: see arena.h */
status
parameters_randomize(parameters *s,
                     uint64_t seed); /* the initial values of the parameter table, the same on any number of ranks */
void parameters_free(parameters *s); /* the buffers are the arena's */

/* A unit while the computation is at it: its weights; its gradients, which go on top of what is there where *accumulate. */
status parameters_enter(parameters *s, unit_views *v, int u, pass p);
status parameters_gradients(parameters *s, unit_views *v, int u, bool *accumulate);
status parameters_leave(parameters *s, int u);

unit_views parameters_views(const parameters *s, int u); /* where all units are resident: s->weights, s->grads */

owned_part parameters_owned(const parameters *s, const param *p);
/* The part of it that this rank saves, of as many as own the same: every element is saved by one rank. */
owned_part parameters_saved(const parameters *s, const param *p);

/* Weights of owned parts have changed (loaded, updated), on all ranks: the next micro-batch begins with gathering them. */
void parameters_weights_changed(parameters *s);

/* Saving: the whole unit as the pieces hold it, in dtype t, on every rank. All ranks together, any unit, one at a time;
 * parameters_whole_end when done. */
status parameters_whole(parameters *s, int u, unit_views *v);
void parameters_whole_end(parameters *s);

#endif
