/* The training state of a model: flat buffers over all units. Every parameter is a view into them. The sharding engine
 * (parallel/fsdp.h) owns weights and gradients; master weights and moments of this rank's pieces are here.
 *
 *   weights  dtype t (bf16 or f32): what forward and backward read
 *   master   f32, only with t BF16 and options.master: what the optimizer updates
 *   grads    f32       m, v  dtype moments (f32 or bf16)
 * Padding is zero in every buffer and stays zero. */
#ifndef TALLY_PARAMETERS_H
#define TALLY_PARAMETERS_H

#include "parallel/fsdp.h"
#include "train/model/param_table.h"

typedef struct {
    dtype t;     /* weights and activations */
    bool master; /* f32 master weights; ignored with t F32, where the weights are the master */
    dtype moments;
    bool training; /* false: weights only */
    shard_options shard;
} parameters_options;

typedef struct {
    device *dev;
    param_table p;
    parameters_options o;
    fsdp f;
    void *weights; /* all units; NULL where they are sharded: use parameters_enter */
    float *grads;  /* all units, or NULL */
    float *master; /* master, m, v: this rank's pieces of all units, concatenated: see owned_part.at */
    void *m, *v;
    uint64_t step; /* optimizer steps taken */
} parameters;

/* pointers to the parameters of one unit; NULL for those that the model lacks */
typedef struct {
    const void *w[P_KINDS];
    float *dw[P_KINDS]; /* NULL until parameters_gradients */
} unit_views;

/* What this rank owns of a parameter: elements [first, first + count). count 0: nothing. */
typedef struct {
    i64 first, count;
    i64 at;        /* index of element `first` in master, m and v */
    void *weights; /* of element `first`, dtype t */
    float *grads;  /* of element `first`; valid after fsdp_finish_gradients; NULL without training */
} owned_part;

status parameters_init(parameters *s, device *dev, const model_config *c, parameters_options o);
void parameters_layout(parameters *s, arena *a); /* both passes: see arena.h */
/* Draws the initial values by the parameter table. They are the same on any number of ranks. */
status parameters_randomize(parameters *s, uint64_t seed);
void parameters_free(parameters *s); /* the buffers are the arena's */

/* Unit u during its computation: its weights, valid until parameters_leave; its gradients. *accumulate: add to what is
 * there; false: overwrite it. */
status parameters_enter(parameters *s, unit_views *v, int u, pass p);
status parameters_gradients(parameters *s, unit_views *v, int u, bool *accumulate);
status parameters_leave(parameters *s, int u);

unit_views parameters_views(const parameters *s, int u); /* needs s->weights: all units resident */

owned_part parameters_owned(const parameters *s, const param *p);
/* The part of it that this rank saves. Replicas own the same elements; each element is saved by one of them. */
owned_part parameters_saved(const parameters *s, const param *p);

/* Sets elements [at, at + n) of an owned part, in the weights and in the master if there is one. values: on the host; rounded:
 * scratch of n elements. */
status parameters_set(const parameters *s, const owned_part *part, i64 at, const float *values, bf16 *rounded, i64 n);

/* Call on all ranks after the weights of owned parts have changed (loaded, updated). The next micro-batch gathers them. */
void parameters_weights_changed(parameters *s);

/* For saving: gathers the whole unit u on every rank, in dtype t, unrounded. All ranks together; one unit at a time, in any
 * order. Call parameters_whole_end after the last one. */
status parameters_whole(parameters *s, int u, unit_views *v);
void parameters_whole_end(parameters *s);

#endif
