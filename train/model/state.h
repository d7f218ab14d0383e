/* The training state of a model: flat buffers over all units, of which every parameter is a view. The weights and gradients
 * are the sharding engine's (parallel/fsdp.h); this rank's pieces of the optimizer's state lie here.
 *
 *   weights  dtype t (bf16 or f32): what forward and backward read
 *   master   f32, only where t is BF16 and it is asked for: what the optimizer updates
 *   grads    f32       m, v  dtype moments (f32 or bf16)
 * Padding is zero in every buffer and stays so. */
#ifndef TALLY_STATE_H
#define TALLY_STATE_H

#include "parallel/fsdp.h"
#include "train/model/params.h"

typedef struct {
    dtype t;     /* weights and activations */
    bool master; /* f32 master weights (ignored where t is F32: the weights are it) */
    dtype moments;
    bool training; /* else weights only */
    shard_options shard;
} state_options;

typedef struct {
    device *dev;
    params p;
    state_options o;
    fsdp f;
    void *weights; /* all units, or NULL where they are sharded: then only state_enter gives them */
    float *grads;  /* all units, or NULL */
    float *master; /* master, m, v: this rank's pieces of all units, one behind the other: see owned_part.at */
    void *m, *v;
    uint64_t step; /* optimizer steps taken */
} state;

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

status state_init(state *s, device *dev, const model_config *c, state_options o);
void state_layout(state *s, arena *a); /* both passes: see arena.h */
status state_randomize(state *s,
                       uint64_t seed); /* the initial values of the parameter table, the same on any number of ranks */
void state_free(state *s);             /* the buffers are the arena's */

/* A unit while the computation is at it: its weights; its gradients, which go on top of what is there where *accumulate. */
status state_enter(state *s, unit_views *v, int u, pass p);
status state_gradients(state *s, unit_views *v, int u, bool *accumulate);
status state_leave(state *s, int u);

unit_views state_views(const state *s, int u); /* where all units are resident: s->weights, s->grads */

owned_part state_owned(const state *s, const param *p);
/* The part of it that this rank saves, of as many as own the same: every element is saved by one rank. */
owned_part state_saved(const state *s, const param *p);

/* Weights of owned parts have changed (loaded, updated), on all ranks: the next micro-batch begins with gathering them. */
void state_weights_changed(state *s);

/* Saving: the whole unit as the pieces hold it, in dtype t, on every rank. All ranks together, any unit, one at a time;
 * state_whole_end when done. */
status state_whole(state *s, int u, unit_views *v);
void state_whole_end(state *s);

#endif
