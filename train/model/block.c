#include "train/model/block.h"

#include <math.h>

#include "layers/activation.h"
#include "layers/attention.h"
#include "layers/linear.h"

static i64 q_width(const model_config *c) { return c->H * c->D; }
static i64 k_width(const model_config *c) { return c->K * c->D; }
static i64 qkv_width(const model_config *c) { return q_width(c) + 2 * k_width(c); }
static i64 up_width(const model_config *c) { return c->swiglu ? 2 * c->F : c->F; }

/* the block's layers with their parameters, for N rows; q_norm and k_norm only with qk_norm */
typedef struct {
    norm_layer norm1, norm2, q_norm, k_norm;
    linear qkv, attn, up, down;
} block_layers;

static linear linear_of(const unit_views *w, param_kind weight, param_kind bias, i64 I, i64 O, bool accumulate) {
    return (linear){.w = w->w[weight],
                    .b = w->w[bias],
                    .dw = w->dw[weight],
                    .db = w->dw[bias],
                    .accumulate = accumulate,
                    .I = I,
                    .O = O};
}

static norm_layer norm_of(const unit_views *w, param_kind gain, param_kind bias, norm_shape s, bool accumulate) {
    return (norm_layer){
        .g = w->w[gain], .b = w->w[bias], .dg = w->dw[gain], .db = w->dw[bias], .accumulate = accumulate, .s = s};
}

/* the norm of q's heads or of k's, in rows as wide as qkv's */
static norm_layer head_norm_of(const model_config *c, const unit_views *w, param_kind gain, i64 N, i64 heads,
                               bool accumulate) {
    return (norm_layer){
        .g = w->w[gain],
        .dg = w->dw[gain],
        .accumulate = accumulate,
        .s = {.N = N, .G = heads, .C = c->D, .ldx = qkv_width(c), .ldy = qkv_width(c), .eps = c->norm_eps}};
}

static block_layers layers_of(const model_config *c, const unit_views *w, i64 N, bool accumulate) {
    const norm_shape s = {.N = N, .G = 1, .C = c->C, .ldx = c->C, .ldy = c->C, .eps = c->norm_eps};
    return (block_layers){.norm1 = norm_of(w, P_NORM1_G, P_NORM1_B, s, accumulate),
                          .qkv = linear_of(w, P_QKV_W, P_QKV_B, c->C, qkv_width(c), accumulate),
                          .q_norm = head_norm_of(c, w, P_QNORM_G, N, c->H, accumulate),
                          .k_norm = head_norm_of(c, w, P_KNORM_G, N, c->K, accumulate),
                          .attn = linear_of(w, P_ATTN_W, P_ATTN_B, q_width(c), c->C, accumulate),
                          .norm2 = norm_of(w, P_NORM2_G, P_NORM2_B, s, accumulate),
                          .up = linear_of(w, P_UP_W, P_UP_B, c->C, up_width(c), accumulate),
                          .down = linear_of(w, P_DOWN_W, P_DOWN_B, c->F, c->C, accumulate)};
}

static void *take(arena *a, const block_env *e, i64 elements) {
    return arena_take(a, MEM_ACTIVATIONS, (size_t)elements * dtype_bytes(e->t));
}
static float *take_f32(arena *a, i64 elements) { return arena_take(a, MEM_ACTIVATIONS, (size_t)elements * 4); }

static void layout_norm_outputs(block_activations *b, arena *a, const block_env *e, i64 N) {
    b->n1 = take(a, e, N * e->c->C);
    b->n2 = take(a, e, N * e->c->C);
    b->act = take(a, e, N * e->c->F);
}

static void layout_rest(block_activations *b, arena *a, const block_env *e, i64 N) {
    const model_config *c = e->c;
    i64 mean = c->layer_norm ? N : 0;
    b->norm1.mean = take_f32(a, mean);
    b->norm1.rstd = take_f32(a, N);
    b->norm2.mean = take_f32(a, mean);
    b->norm2.rstd = take_f32(a, N);
    b->qkv = take(a, e, N * qkv_width(c));
    b->qk = take(a, e, c->qk_norm ? N * qkv_width(c) : 0);
    b->q_norm.rstd = take_f32(a, c->qk_norm ? N * c->H : 0);
    b->k_norm.rstd = take_f32(a, c->qk_norm ? N * c->K : 0);
    b->a = take(a, e, N * q_width(c));
    b->lse = take_f32(a, N * c->H);
    b->x_mid = take(a, e, N * c->C);
    b->up = take(a, e, N * up_width(c));
}

void block_layout_kept(block_activations *kept, arena *a, const block_env *e, i64 N, recompute_kind policy) {
    *kept = (block_activations){.x = take(a, e, N * e->c->C)};
    if (policy == RECOMPUTE_BLOCK) return;
    layout_rest(kept, a, e, N);
    if (policy == RECOMPUTE_NONE) layout_norm_outputs(kept, a, e, N);
}

void block_layout_shared(block_activations *shared, arena *a, const block_env *e, i64 N, recompute_kind policy) {
    *shared = (block_activations){0};
    if (policy == RECOMPUTE_NONE) return;
    layout_norm_outputs(shared, a, e, N);
    if (policy == RECOMPUTE_BLOCK) layout_rest(shared, a, e, N);
}

/* queries have the row stride of qkv; keys and values have ldk */
static attention_shape attention_of(const model_config *c, const block_batch *b, i64 past, i64 ldk) {
    return (attention_shape){.B = b->B,
                             .Tq = b->T,
                             .Tk = past + b->T,
                             .H = c->H,
                             .K = c->K,
                             .D = c->D,
                             .ldq = qkv_width(c),
                             .ldk = ldk,
                             .ldo = q_width(c),
                             .scale = 1.0f / sqrtf((float)c->D),
                             .window = b->window,
                             .starts = b->starts,
                             .pairs = b->pairs};
}

/* q and k lie side by side in rows as wide as qkv's: their heads are rotated together */
static rope_shape qk_heads(const model_config *c, const block_batch *b) {
    return (rope_shape){.B = b->B, .T = b->T, .G = c->H + c->K, .ld = qkv_width(c), .starts = b->starts};
}

static i64 max_i64(i64 a, i64 b) { return a > b ? a : b; }

void block_layout_gradients(block_gradients *g, arena *a, const block_env *e, i64 B, i64 T) {
    const model_config *c = e->c;
    i64 N = B * T;
    size_t bytes = dtype_bytes(e->t);
    g->dx = arena_take(a, MEM_SCRATCH, (size_t)(N * c->C) * bytes);
    g->dn = arena_take(a, MEM_SCRATCH, (size_t)(N * c->C) * bytes);
    g->d_act = arena_take(a, MEM_SCRATCH, (size_t)(N * max_i64(c->F, q_width(c))) * bytes);
    g->d_up = arena_take(a, MEM_SCRATCH, (size_t)(N * max_i64(c->swiglu ? 2 * c->F : 0, qkv_width(c))) * bytes);
    attention_shape s = attention_of(c, &(block_batch){.B = B, .T = T}, 0, qkv_width(c));
    g->attention = arena_take(a, MEM_SCRATCH, attention_backward_scratch_bytes(e->dev, s));
}

block_activations block_merge(const block_activations *shared, const block_activations *kept) {
    block_activations b = *shared;
    b.x = kept->x;
    if (!kept->norm1.rstd) return b;
    b = *kept;
    if (kept->n1) return b;
    b.n1 = shared->n1, b.n2 = shared->n2, b.act = shared->act;
    return b;
}

static status forward_activation(const block_env *e, const block_activations *a, i64 N) {
    return e->c->swiglu ? activation_swiglu_forward(e->dev, e->t, a->act, a->up, N, e->c->F)
                        : activation_gelu_forward(e->dev, e->t, a->act, a->up, N, e->c->F);
}

/* where q lies for attention, with k after it. qk-norm writes q and k to a buffer of their own; v stays in qkv. */
static void *rotated_qk(const model_config *c, const block_activations *a) { return c->qk_norm ? a->qk : a->qkv; }

static status forward_positions(const block_env *e, const block_layers *l, const block_activations *a,
                                const block_batch *b, i64 first) {
    const model_config *c = e->c;
    dtype t = e->t;
    void *q = rotated_qk(c, a), *k = tensor_at(q, t, q_width(c));
    if (c->qk_norm) {
        const void *raw_k = tensor_at(a->qkv, t, q_width(c));
        TRY(norm_forward(e->dev, t, q, a->q_norm, a->qkv, &l->q_norm));
        TRY(norm_forward(e->dev, t, k, a->k_norm, raw_k, &l->k_norm));
    }
    if (c->learned_positions) return STATUS_OK;
    return rope_forward(e->dev, t, q, &e->rope, qk_heads(c, b), first);
}

static status append_to_cache(const block_env *e, const block_cache *cache, const void *k, const void *v, i64 T) {
    i64 width = k_width(e->c), first = cache->used;
    size_t row = (size_t)width * dtype_bytes(e->t), stride = (size_t)qkv_width(e->c) * dtype_bytes(e->t);
    TRY(e->dev->ops->copy_rows(e->dev, tensor_at(cache->k, e->t, first * width), row, k, stride, row, T));
    return e->dev->ops->copy_rows(e->dev, tensor_at(cache->v, e->t, first * width), row, v, stride, row, T);
}

/* one sequence at a time: their caches have different lengths */
static status forward_cached(const block_env *e, const block_activations *a, const block_batch *b,
                             const block_cache *cache) {
    const model_config *c = e->c;
    const block_batch one = {.B = 1, .T = b->T, .window = b->window};
    for (i64 i = 0; i < b->B; i++) {
        i64 row = i * b->T;
        const void *q = tensor_at(rotated_qk(c, a), e->t, row * qkv_width(c)), *k = tensor_at(q, e->t, q_width(c)),
                   *v = tensor_at(a->qkv, e->t, row * qkv_width(c) + q_width(c) + k_width(c));
        TRY(append_to_cache(e, &cache[i], k, v, b->T));
        attention_shape s = attention_of(c, &one, cache[i].used, k_width(c));
        TRY(attention_forward(e->dev, e->t, tensor_at(a->a, e->t, row * q_width(c)), a->lse + row * c->H, q, cache[i].k,
                              cache[i].v, s));
    }
    return STATUS_OK;
}

static status forward_attention(const block_env *e, const block_activations *a, const block_batch *b,
                                const block_cache *cache) {
    const model_config *c = e->c;
    i64 ld = qkv_width(c);
    const void *q = rotated_qk(c, a), *k = tensor_at(q, e->t, q_width(c)),
               *v = tensor_at(a->qkv, e->t, q_width(c) + k_width(c));
    if (cache) return forward_cached(e, a, b, cache);
    return attention_forward(e->dev, e->t, a->a, a->lse, q, k, v, attention_of(c, b, 0, ld));
}

status block_forward(const block_env *e, const unit_views *w, const block_activations *a, void *y, const block_batch *b,
                     const block_cache *cache, i64 first) {
    device *dev = e->dev;
    i64 N = b->B * b->T;
    block_layers l = layers_of(e->c, w, N, false);
    TRY(norm_forward(dev, e->t, a->n1, a->norm1, a->x, &l.norm1));
    TRY(linear_forward(dev, e->t, a->qkv, a->n1, &l.qkv, NULL, N));
    TRY(forward_positions(e, &l, a, b, first));
    TRY(forward_attention(e, a, b, cache));
    TRY(linear_forward(dev, e->t, a->x_mid, a->a, &l.attn, a->x, N));
    TRY(norm_forward(dev, e->t, a->n2, a->norm2, a->x_mid, &l.norm2));
    TRY(linear_forward(dev, e->t, a->up, a->n2, &l.up, NULL, N));
    TRY(forward_activation(e, a, N));
    if (!y) return STATUS_OK;
    return linear_forward(dev, e->t, y, a->act, &l.down, a->x_mid, N);
}

static status backward_mlp(const block_env *e, const block_layers *l, const block_activations *a,
                           const block_gradients *g, i64 N) {
    const model_config *c = e->c;
    device *dev = e->dev;
    dtype t = e->t;
    void *d_up = c->swiglu ? g->d_up : g->d_act;
    if (c->swiglu) {
        TRY(linear_backward(dev, t, g->d_act, g->dx, a->act, &l->down, N));
        TRY(activation_swiglu_backward(dev, t, d_up, g->d_act, a->up, N, c->F));
    } else {
        TRY(linear_backward_gelu(dev, t, d_up, g->dx, a->act, a->up, &l->down, N));
    }
    TRY(linear_backward(dev, t, g->dn, d_up, a->n2, &l->up, N));
    return norm_backward(dev, t, g->dx, g->dx, g->dn, a->x_mid, a->norm2, &l->norm2);
}

/* Gradients of the rotated (and normed) q and k become those of the GEMM's output, in place in dqkv. */
static status backward_positions(const block_env *e, const block_layers *l, const block_activations *a, void *dqkv,
                                 const block_batch *b) {
    const model_config *c = e->c;
    dtype t = e->t;
    i64 q = q_width(c);
    void *dk = tensor_at(dqkv, t, q);
    if (!c->learned_positions) TRY(rope_backward(e->dev, t, dqkv, &e->rope, qk_heads(c, b)));
    if (!c->qk_norm) return STATUS_OK;
    TRY(norm_backward(e->dev, t, dqkv, NULL, dqkv, a->qkv, a->q_norm, &l->q_norm));
    return norm_backward(e->dev, t, dk, NULL, dk, tensor_at(a->qkv, t, q), a->k_norm, &l->k_norm);
}

static status backward_attention(const block_env *e, const block_layers *l, const block_activations *a,
                                 const block_gradients *g, const block_batch *b) {
    const model_config *c = e->c;
    device *dev = e->dev;
    dtype t = e->t;
    i64 N = b->B * b->T, q = q_width(c), k = k_width(c), ld = qkv_width(c);
    void *d_a = g->d_act, *dqkv = g->d_up;
    TRY(linear_backward(dev, t, d_a, g->dx, a->a, &l->attn, N));
    const void *rotated = rotated_qk(c, a);
    const attention_tensors x = {
        .q = rotated, .k = tensor_at(rotated, t, q), .v = tensor_at(a->qkv, t, q + k), .o = a->a, .lse = a->lse};
    const attention_gradients d = {
        .dq = dqkv, .dk = tensor_at(dqkv, t, q), .dv = tensor_at(dqkv, t, q + k), .d_o = d_a};
    TRY(attention_backward(dev, t, &d, &x, g->attention, attention_of(c, b, 0, ld)));
    TRY(backward_positions(e, l, a, dqkv, b));
    TRY(linear_backward(dev, t, g->dn, dqkv, a->n1, &l->qkv, N));
    return norm_backward(dev, t, g->dx, g->dx, g->dn, a->x, a->norm1, &l->norm1);
}

static status recompute(const block_env *e, const unit_views *w, const block_activations *a, const block_batch *b,
                        recompute_kind policy) {
    if (policy == RECOMPUTE_BLOCK) return block_forward(e, w, a, NULL, b, NULL, 0);
    block_layers l = layers_of(e->c, w, b->B * b->T, false);
    TRY(norm_forward(e->dev, e->t, a->n1, a->norm1, a->x, &l.norm1));
    TRY(norm_forward(e->dev, e->t, a->n2, a->norm2, a->x_mid, &l.norm2));
    return forward_activation(e, a, b->B * b->T);
}

status block_backward(const block_env *e, const unit_views *w, const block_activations *a, const block_gradients *g,
                      const block_batch *b, recompute_kind policy, bool accumulate) {
    i64 N = b->B * b->T;
    if (policy != RECOMPUTE_NONE) {
        TRY(device_recompute(e->dev, true));
        status_code st = recompute(e, w, a, b, policy);
        TRY(device_recompute(e->dev, false));
        TRY(st);
    }
    block_layers l = layers_of(e->c, w, N, accumulate);
    TRY(backward_mlp(e, &l, a, g, N));
    return backward_attention(e, &l, a, g, b);
}
