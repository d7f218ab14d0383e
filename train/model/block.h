/* One transformer block, pre-norm, with switches for GPT-2 and the Llama family:
 *
 *   n1 = norm1(x)            qkv = n1 Wqkv^T (+ b);  q, k = [qk-norm, then] rope(q, k) unless positions are learned
 *   a = attention(q, k, v)   x_mid = a Wo^T (+ b) + x
 *   n2 = norm2(x_mid)        up = n2 Wup^T (+ b);  act = gelu(up) | silu(gate) * up
 *   y = act Wdown^T (+ b) + x_mid
 *
 * Activations have dtype t and N = B*T rows. Those that a recompute policy does not keep share one buffer among all blocks:
 *   none       keeps all                          bytes a token 2(4C + 2q + 2k + 3F) + 4(H+2), SwiGLU; GELU 2F for 3F
 *   selective  shares n1, n2, act                 2(2C + 2q + 2k + 2F) + 4(H+2)
 *   block      shares all but x                   2C
 * (LayerNorm keeps a mean beside each rstd; qk-norm keeps a second qkv and its rstd.) */
#ifndef TALLY_BLOCK_H
#define TALLY_BLOCK_H

#include "layers/norm.h"
#include "train/model/parameters.h"
#include "train/model/recompute.h"

typedef struct {
    device *dev;
    const model_config *c;
    dtype t;
    rope rope; /* unused with learned positions */
} block_env;

typedef struct {
    void *x;                      /* [N,C] input, kept by every policy */
    void *n1, *n2;                /* [N,C] */
    norm_statistics norm1, norm2; /* [N] each; mean NULL with RMS norm */
    void *qkv;                    /* [N, q+2k]; q and k rotated in place, unless qk_norm */
    void *qk; /* qk_norm only: q and k normed and rotated, in rows as wide as qkv's (one stride for all) */
    norm_statistics q_norm, k_norm; /* [N,H], [N,K]; qk_norm only */
    void *a;                        /* [N,q] attention's output */
    float *lse;                     /* [B,H,T] */
    void *x_mid;                    /* [N,C] */
    void *up;                       /* [N,F], SwiGLU [N,2F] */
    void *act;                      /* [N,F] */
} block_activations;

/* gradient buffers, shared by all blocks */
typedef struct {
    void *dx;        /* [N,C]: gradient of the block's output, then of its input */
    void *dn;        /* [N,C] */
    void *d_act;     /* [N, max(F,q)]: d_act, then the gradient of attention's output */
    void *d_up;      /* [N, max(2F or 0, q+2k)]: SwiGLU's input gradient, then dqkv */
    void *attention; /* attention_backward_scratch_bytes */
} block_gradients;

/* keys and values of the tokens of one sequence so far, for generation: [capacity, k] each */
typedef struct {
    void *k, *v;
    i64 used; /* tokens that it holds */
} block_cache;

/* the tokens that a block computes, and what attention sees of them (attention.h) */
typedef struct {
    i64 B, T;
    i64 window;
    const int32_t *starts; /* [B,T] on the device, or NULL */
    i64 pairs;             /* with starts */
} block_batch;

/* Take memory from the arena: for the activations that one block keeps under the policy, and for those that all blocks share.
 * block_merge gives a block's activations: the kept ones, and shared ones for the rest. */
void block_layout_kept(block_activations *kept, arena *a, const block_env *e, i64 N, recompute_kind policy);
void block_layout_shared(block_activations *shared, arena *a, const block_env *e, i64 N, recompute_kind policy);
void block_layout_gradients(block_gradients *g, arena *a, const block_env *e, i64 B, i64 T);
block_activations block_merge(const block_activations *shared, const block_activations *kept);

/* y NULL: stops before the last GEMM, for recompute in backward. cache: NULL in training; else [B], one per sequence: its T new
 * tokens are appended and attend to all of it. Their positions are counted from `first` - starts. */
status block_forward(const block_env *e, const unit_views *w, const block_activations *a, void *y, const block_batch *b,
                     const block_cache *cache, i64 first);

/* Replaces g->dx. Recomputes from a->x the activations that the policy does not keep. Weight gradients are =, or += if
 * accumulate. */
status block_backward(const block_env *e, const unit_views *w, const block_activations *a, const block_gradients *g,
                      const block_batch *b, recompute_kind policy, bool accumulate);

#endif
