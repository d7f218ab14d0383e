/* The training state of a model: flat buffers over all units, of which every parameter is a view.
 *
 *   weights  dtype t (bf16 or f32): what forward and backward read
 *   master   f32, only where t is BF16 and it is asked for: what the optimizer updates
 *   grads    f32       m, v  dtype moments (f32 or bf16)
 * Padding is zero in every buffer and stays so. */
#ifndef TALLY_STATE_H
#define TALLY_STATE_H

#include "runtime/arena.h"
#include "train/params.h"

typedef struct {
    dtype t;     /* weights and activations */
    bool master; /* f32 master weights (ignored where t is F32: the weights are it) */
    dtype moments;
    bool training; /* else weights only */
} state_options;

typedef struct {
    device *dev;
    params p;
    state_options o;
    void *weights;
    float *master;
    float *grads;
    void *m, *v;
    uint64_t step; /* optimizer steps taken */
} state;

/* pointers to the parameters of one unit, NULL where the model has none */
typedef struct {
    const void *w[P_KINDS];
    float *dw[P_KINDS]; /* NULL without training */
} unit_views;

status state_init(state *s, device *dev, const model_config *c, state_options o);
void state_layout(state *s, arena *a);           /* both passes: see arena.h */
status state_randomize(state *s, uint64_t seed); /* the initial values of the parameter table */
unit_views state_views(const state *s, int u);
void state_free(state *s); /* the buffers are the arena's */

#endif
