#include "train/model.h"

#include <stdlib.h>

#include "layers/classifier.h"
#include "layers/embedding.h"
#include "layers/norm.h"
#include "optim/gradnorm.h"

static recompute_kind policy_of(const model *m, i64 layer) {
    recompute_policy r = m->s.recompute;
    return r.kind == RECOMPUTE_BLOCK && layer >= r.blocks ? RECOMPUTE_NONE : r.kind;
}

static void layout(model *m, arena *a) {
    const model_config *c = &m->c;
    const block_env *e = &m->env;
    i64 N = m->s.B * m->s.T, C = c->C;
    size_t row = (size_t)C * dtype_bytes(e->t);
    state_layout(&m->state, a);
    size_t table = c->learned_positions ? 0 : (size_t)(m->s.T * c->D / 2) * 4;
    m->cos_table = arena_take(a, MEM_SCRATCH, table);
    m->sin_table = arena_take(a, MEM_SCRATCH, table);
    m->tokens = arena_take(a, MEM_SCRATCH, (size_t)N * 4);
    m->targets = arena_take(a, MEM_SCRATCH, (size_t)N * 4);
    bool training = m->state.o.training;
    for (i64 l = 0; l < c->L; l++)
        block_layout_kept(&m->kept[l], a, e, N, training ? policy_of(m, l) : RECOMPUTE_BLOCK);
    block_layout_shared(&m->shared, a, e, N, training ? m->s.recompute.kind : RECOMPUTE_BLOCK);
    m->x = arena_take(a, MEM_ACTIVATIONS, (size_t)N * row);
    m->h = arena_take(a, MEM_ACTIVATIONS, (size_t)N * row);
    m->mean = arena_take(a, MEM_ACTIVATIONS, c->layer_norm ? (size_t)N * 4 : 0);
    m->rstd = arena_take(a, MEM_ACTIVATIONS, (size_t)N * 4);
    m->losses = arena_take(a, MEM_SCRATCH, (size_t)N * 4);
    m->logits = arena_take(a, MEM_LOGITS, classifier_logits_bytes(e->t, N, c->V));
    if (!training) return;
    block_layout_gradients(&m->gradients, a, e, m->s.B, m->s.T);
    m->norm_scratch = arena_take(a, MEM_SCRATCH, gradnorm_scratch_bytes(m->state.p.size));
}

static status prepare(model *m, device *dev, const model_config *c, model_shape s, state_options options) {
    *m = (model){.dev = dev, .c = *c, .s = s};
    TRY(model_config_check(c));
    if (s.B < 1 || s.T < 1) FAIL(ARG, "batch %ld, sequence length %ld: expected positive", s.B, s.T);
    if (s.T > c->context)
        FAIL(ARG, "--seq-len %ld: %s has a context of %ld tokens; expected at most that", s.T, c->name, c->context);
    m->kept = calloc((size_t)c->L, sizeof *m->kept);
    if (!m->kept) FAIL(MEM, "%ld layers", c->L);
    m->env = (block_env){.dev = dev, .c = &m->c, .t = options.t};
    return state_init(&m->state, dev, c, options);
}

status model_plan(size_t bytes[MEM_CATEGORIES], device *dev, const model_config *c, model_shape s,
                  state_options options) {
    model m;
    arena plan = {0};
    status_code st = prepare(&m, dev, c, s, options);
    if (!st) {
        layout(&m, &plan);
        memcpy(bytes, plan.bytes, sizeof plan.bytes);
    }
    model_free(&m);
    return st;
}

static status upload_rope_tables(model *m) {
    i64 n = m->s.T * m->c.D / 2;
    float *host = malloc((size_t)n * 8);
    status_code st = STATUS_OK;
    if (!host) FAIL_DONE(MEM, "RoPE tables: %ld entries", 2 * n);
    rope_table(host, host + n, m->s.T, m->c.D, m->c.rope);
    TRY_DONE(m->dev->ops->copy(m->dev, m->cos_table, host, (size_t)n * 4));
    TRY_DONE(m->dev->ops->copy(m->dev, m->sin_table, host + n, (size_t)n * 4));
done:
    free(host);
    return st;
}

status model_init(model *m, device *dev, const model_config *c, model_shape s, state_options options) {
    status_code st = STATUS_OK;
    TRY_DONE(prepare(m, dev, c, s, options));
    m->host_losses = malloc((size_t)(s.B * s.T) * 4);
    if (!m->host_losses) FAIL_DONE(MEM, "losses of %ld tokens", s.B * s.T);
    layout(m, &m->memory);
    TRY_DONE(arena_commit(&m->memory, dev));
    layout(m, &m->memory);
    if (!c->learned_positions) TRY_DONE(upload_rope_tables(m));
    m->env.cos_table = m->cos_table;
    m->env.sin_table = m->sin_table;
done:
    if (st) model_free(m);
    return st;
}

void model_free(model *m) {
    arena_free(&m->memory);
    state_free(&m->state);
    free(m->kept);
    free(m->host_losses);
    *m = (model){0};
}

static norm_shape final_norm(const model *m) {
    return (norm_shape){.N = m->s.B * m->s.T, .G = 1, .C = m->c.C, .ldx = m->c.C, .ldy = m->c.C, .eps = m->c.norm_eps};
}

static embedding_shape embedding_of(const model *m) {
    return (embedding_shape){
        .B = m->s.B, .T = m->s.T, .C = m->c.C, .V = m->c.V, .positions = m->c.learned_positions ? m->c.context : 0};
}

static void *block_output(model *m, i64 layer) { return layer + 1 < m->c.L ? m->kept[layer + 1].x : m->x; }

static status forward_to_head(model *m, const int32_t *tokens, const int32_t *targets) {
    device *dev = m->dev;
    size_t bytes = (size_t)(m->s.B * m->s.T) * 4;
    TRY(dev->ops->copy(dev, m->tokens, tokens, bytes));
    TRY(dev->ops->copy(dev, m->targets, targets, bytes));
    unit_views w = state_views(&m->state, 0);
    TRY(embedding_forward(dev, m->env.t, m->kept[0].x, m->tokens, w.w[P_WTE], w.w[P_WPE], embedding_of(m), 0));
    for (i64 l = 0; l < m->c.L; l++) {
        w = state_views(&m->state, (int)l + 1);
        block_activations a = block_merge(&m->shared, &m->kept[l]);
        TRY(block_forward(&m->env, &w, &a, block_output(m, l), m->s.B, m->s.T, NULL, 0));
    }
    w = state_views(&m->state, (int)m->c.L + 1);
    return norm_forward(dev, m->env.t, m->h, m->mean, m->rstd, m->x, w.w[P_NORM_G], w.w[P_NORM_B], final_norm(m));
}

/* the matrix of the head, and its gradient: the embedding's where tied */
static unit_views head_views(const model *m) {
    unit_views head = state_views(&m->state, (int)m->c.L + 1), embedding = state_views(&m->state, 0);
    if (m->c.tied) head.w[P_HEAD_W] = embedding.w[P_WTE], head.dw[P_HEAD_W] = embedding.dw[P_WTE];
    return head;
}

static status sum_losses(model *m, double *loss) {
    i64 N = m->s.B * m->s.T;
    TRY(m->dev->ops->copy(m->dev, m->host_losses, m->losses, (size_t)N * 4));
    *loss = 0;
    for (i64 n = 0; n < N; n++) *loss += m->host_losses[n];
    return STATUS_OK;
}

status model_loss(model *m, double *loss, const int32_t *tokens, const int32_t *targets) {
    TRY(forward_to_head(m, tokens, targets));
    unit_views w = head_views(m);
    TRY(classifier_forward_backward(m->dev, m->env.t, m->losses, NULL, NULL, m->logits, m->h, w.w[P_HEAD_W], m->targets,
                                    m->s.B * m->s.T, m->c.C, m->c.V, 0, false));
    return sum_losses(m, loss);
}

status model_forward_backward(model *m, double *loss, const int32_t *tokens, const int32_t *targets, float scale,
                              bool accumulate) {
    device *dev = m->dev;
    dtype t = m->env.t;
    TRY(forward_to_head(m, tokens, targets));
    unit_views w = head_views(m);
    TRY(classifier_forward_backward(dev, t, m->losses, m->h, w.dw[P_HEAD_W], m->logits, m->h, w.w[P_HEAD_W], m->targets,
                                    m->s.B * m->s.T, m->c.C, m->c.V, scale, accumulate));
    TRY(norm_backward(dev, t, m->gradients.dx, w.dw[P_NORM_G], w.dw[P_NORM_B], NULL, m->h, m->x, w.w[P_NORM_G], m->mean,
                      m->rstd, final_norm(m), accumulate));
    for (i64 l = m->c.L - 1; l >= 0; l--) {
        w = state_views(&m->state, (int)l + 1);
        block_activations a = block_merge(&m->shared, &m->kept[l]);
        TRY(block_backward(&m->env, &w, &a, &m->gradients, m->s.B, m->s.T, policy_of(m, l), accumulate));
    }
    w = state_views(&m->state, 0);
    TRY(embedding_backward(dev, t, w.dw[P_WTE], w.dw[P_WPE], m->gradients.dx, m->tokens, embedding_of(m),
                           accumulate || m->c.tied, accumulate));
    return sum_losses(m, loss);
}
