#include "train/model/model.h"

#include <stdlib.h>

#include "layers/classifier.h"
#include "layers/crossentropy.h"
#include "layers/embedding.h"
#include "layers/norm.h"
#include "optim/gradnorm.h"

static void layout(model *m, arena *a) {
    const model_config *c = &m->c;
    const block_env *e = &m->env;
    i64 N = m->s.B * m->s.T, C = c->C;
    size_t row = (size_t)C * dtype_bytes(e->t);
    parameters_layout(&m->parameters, a);
    rope_layout(&m->env.rope, a, c->learned_positions ? 0 : m->s.T, c->D);
    m->tokens = arena_take(a, MEM_SCRATCH, (size_t)N * 4);
    m->targets = arena_take(a, MEM_SCRATCH, (size_t)N * 4);
    bool training = m->parameters.o.training;
    for (i64 l = 0; l < c->L; l++)
        block_layout_kept(&m->kept[l], a, e, N, training ? recompute_of_block(m->s.recompute, l) : RECOMPUTE_BLOCK);
    block_layout_shared(&m->shared, a, e, N, training ? m->s.recompute.kind : RECOMPUTE_BLOCK);
    m->x = arena_take(a, MEM_ACTIVATIONS, (size_t)N * row);
    m->h = arena_take(a, MEM_ACTIVATIONS, (size_t)N * row);
    m->mean = arena_take(a, MEM_ACTIVATIONS, c->layer_norm ? (size_t)N * 4 : 0);
    m->rstd = arena_take(a, MEM_ACTIVATIONS, (size_t)N * 4);
    m->losses = arena_take(a, MEM_SCRATCH, (size_t)N * 4);
    m->logits = arena_take(a, MEM_LOGITS, classifier_logits_bytes(m->dev, e->t, N, c->V));
    if (!training) return;
    block_layout_gradients(&m->gradients, a, e, m->s.B, m->s.T);
    m->norm_scratch = arena_take(a, MEM_SCRATCH, gradnorm_scratch_bytes(m->parameters.p.size / m->parameters.f.pieces));
    size_t all = (size_t)m->parameters.f.ranks;
    m->sums = arena_take(a, MEM_SCRATCH, sizeof *m->sums);
    m->all_sums = arena_take(a, MEM_SCRATCH, all > 1 ? all * sizeof *m->all_sums : 0);
    m->verdict = arena_take(a, MEM_SCRATCH, sizeof *m->verdict);
}

/* Sizes that 64 bits do not hold must not look like small ones. Every buffer that layout takes has, for each token, at most
 * so many elements as this in all; parameters are bounded by model_config_check. */
static status check_sizes(const model_config *c, model_shape s) {
    double block = 8.0 * (double)c->C + 8.0 * (double)(c->H * c->D) + 8.0 * (double)(c->K * c->D) + 8.0 * (double)c->F +
                   8.0 * (double)(c->H + c->K);
    double row = (double)(c->L + 2) * block + (double)c->V + 16, bytes = 4 * row * (double)s.B * (double)s.T;
    if (bytes > 0x1p62)
        FAIL(ARG, "activations of %ld sequences of %ld tokens: up to %.3g bytes, expected fewer than %.3g", s.B, s.T,
             bytes, 0x1p62);
    return STATUS_OK;
}

static status prepare(model *m, device *dev, const model_config *c, model_shape s, parameters_options options) {
    *m = (model){.dev = dev, .c = *c, .s = s};
    TRY(model_config_check(c));
    if (s.B < 1 || s.T < 1) FAIL(ARG, "batch %ld, sequence length %ld: expected positive", s.B, s.T);
    if (s.T > c->context)
        FAIL(ARG, "--seq-len %ld: %s has a context of %ld tokens; expected at most that", s.T, c->name, c->context);
    TRY(check_sizes(c, s));
    m->kept = calloc((size_t)c->L, sizeof *m->kept);
    if (!m->kept) FAIL(MEM, "%ld layers", c->L);
    m->env = (block_env){.dev = dev, .c = &m->c, .t = options.t};
    return parameters_init(&m->parameters, dev, c, options);
}

status model_plan(size_t bytes[MEM_CATEGORIES], device *dev, const model_config *c, model_shape s,
                  parameters_options options) {
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

status model_init(model *m, device *dev, const model_config *c, model_shape s, parameters_options options) {
    status_code st = STATUS_OK;
    TRY_DONE(prepare(m, dev, c, s, options));
    m->host_losses = malloc((size_t)(s.B * s.T) * 4);
    if (!m->host_losses) FAIL_DONE(MEM, "losses of %ld tokens", s.B * s.T);
    layout(m, &m->memory);
    TRY_DONE(arena_commit(&m->memory, dev));
    layout(m, &m->memory);
    if (!c->learned_positions) TRY_DONE(rope_fill(&m->env.rope, dev, c->rope));
done:
    if (st) model_free(m);
    return st;
}

void model_free(model *m) {
    parameters_free(&m->parameters); /* before the memory goes that its collectives under way still use */
    arena_free(&m->memory);
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

/* on the host: a GPU could only say it later */
static status check_batch(const model *m, const int32_t *tokens, const int32_t *targets) {
    for (i64 n = 0; n < m->s.B * m->s.T; n++) {
        if (tokens[n] < 0 || tokens[n] >= m->c.V)
            FAIL(DATA, "token %d at %ld of the batch, expected 0 to %ld", tokens[n], n, m->c.V - 1);
        if (targets[n] < -1 || targets[n] >= m->c.V)
            FAIL(DATA, "target %d at %ld of the batch, expected -1 to %ld", targets[n], n, m->c.V - 1);
    }
    return STATUS_OK;
}

static status look(const model *m) { return m->look ? m->look(m->look_context) : STATUS_OK; }

static status forward_to_head(model *m, const int32_t *tokens, const int32_t *targets) {
    device *dev = m->dev;
    parameters *s = &m->parameters;
    size_t bytes = (size_t)(m->s.B * m->s.T) * 4;
    unit_views w;
    TRY(check_batch(m, tokens, targets));
    TRY(dev->ops->upload(dev, m->tokens, tokens, bytes));
    TRY(dev->ops->upload(dev, m->targets, targets, bytes));
    TRY(look(m));
    TRY(parameters_enter(s, &w, 0, PASS_FORWARD));
    TRY(embedding_forward(dev, m->env.t, m->kept[0].x, m->tokens, w.w[P_WTE], w.w[P_WPE], embedding_of(m), 0));
    TRY(parameters_leave(s, 0));
    for (i64 l = 0; l < m->c.L; l++) {
        int u = (int)l + 1;
        block_activations a = block_merge(&m->shared, &m->kept[l]);
        TRY(look(m));
        TRY(parameters_enter(s, &w, u, PASS_FORWARD));
        TRY(block_forward(&m->env, &w, &a, block_output(m, l), m->s.B, m->s.T, NULL, 0));
        TRY(parameters_leave(s, u));
    }
    return STATUS_OK;
}

static int head_unit(const model *m) { return (int)m->c.L + 1; }

/* The head's unit, with the embedding's matrix as the head's where they are tied. */
static status enter_head(model *m, unit_views *head, pass p) {
    unit_views embedding;
    TRY(parameters_enter(&m->parameters, head, head_unit(m), p));
    if (!m->c.tied) return STATUS_OK;
    TRY(parameters_enter(&m->parameters, &embedding, 0, PASS_STAY));
    head->w[P_HEAD_W] = embedding.w[P_WTE];
    return STATUS_OK;
}

static status leave_head(model *m) {
    TRY(parameters_leave(&m->parameters, head_unit(m)));
    return m->c.tied ? parameters_leave(&m->parameters, 0) : STATUS_OK;
}

static status forward_norm(model *m, const unit_views *head) {
    return norm_forward(m->dev, m->env.t, m->h, m->mean, m->rstd, m->x, head->w[P_NORM_G], head->w[P_NORM_B],
                        final_norm(m));
}

/* waits for them */
static status read_losses(model *m, double *loss) {
    i64 N = m->s.B * m->s.T;
    TRY(m->dev->ops->copy(m->dev, m->host_losses, m->losses, (size_t)N * 4));
    *loss = 0;
    for (i64 n = 0; n < N; n++) *loss += m->host_losses[n];
    return STATUS_OK;
}

status model_loss(model *m, double *loss, const int32_t *tokens, const int32_t *targets) {
    unit_views w;
    TRY(fsdp_begin(&m->parameters.f, false, false));
    TRY(forward_to_head(m, tokens, targets));
    TRY(enter_head(m, &w, PASS_STAY));
    TRY(forward_norm(m, &w));
    TRY(classifier_forward_backward(m->dev, m->env.t, m->losses, NULL, NULL, m->logits, m->h, w.w[P_HEAD_W], m->targets,
                                    m->s.B * m->s.T, m->c.C, m->c.V, 0, false));
    TRY(leave_head(m));
    return read_losses(m, loss);
}

/* embedding: where tied, gets the gradients of the embedding, which the head begins; *begun: whether they go on top */
static status head_forward_backward(model *m, float scale, unit_views *embedding, bool *begun) {
    device *dev = m->dev;
    dtype t = m->env.t;
    unit_views w;
    bool accumulate, accumulate_head;
    TRY(enter_head(m, &w, PASS_BACKWARD));
    TRY(forward_norm(m, &w));
    TRY(parameters_gradients(&m->parameters, &w, head_unit(m), &accumulate));
    accumulate_head = accumulate;
    if (m->c.tied) {
        TRY(parameters_gradients(&m->parameters, embedding, 0, begun));
        w.dw[P_HEAD_W] = embedding->dw[P_WTE];
        accumulate_head = *begun;
    }
    TRY(classifier_forward_backward(dev, t, m->losses, m->h, w.dw[P_HEAD_W], m->logits, m->h, w.w[P_HEAD_W], m->targets,
                                    m->s.B * m->s.T, m->c.C, m->c.V, scale, accumulate_head));
    TRY(norm_backward(dev, t, m->gradients.dx, w.dw[P_NORM_G], w.dw[P_NORM_B], NULL, m->h, m->x, w.w[P_NORM_G], m->mean,
                      m->rstd, final_norm(m), accumulate));
    TRY(leave_head(m));
    return fsdp_reduce(&m->parameters.f, head_unit(m));
}

status model_forward_backward(model *m, double *loss, const int32_t *tokens, const int32_t *targets, float scale,
                              bool first, bool last) {
    parameters *s = &m->parameters;
    unit_views w, embedding = {0};
    bool accumulate = false;
    TRY(fsdp_begin(&s->f, first, last));
    TRY(forward_to_head(m, tokens, targets));
    TRY(head_forward_backward(m, scale, &embedding, &accumulate));
    TRY(crossentropy_sum_losses(m->dev, &m->sums->nats, m->losses, m->s.B * m->s.T, !first));
    for (i64 l = m->c.L - 1; l >= 0; l--) {
        int u = (int)l + 1;
        bool on_top;
        block_activations a = block_merge(&m->shared, &m->kept[l]);
        TRY(look(m));
        TRY(parameters_enter(s, &w, u, PASS_BACKWARD));
        TRY(parameters_gradients(s, &w, u, &on_top));
        TRY(block_backward(&m->env, &w, &a, &m->gradients, m->s.B, m->s.T, recompute_of_block(m->s.recompute, l),
                           on_top));
        TRY(parameters_leave(s, u));
        TRY(fsdp_reduce(&s->f, u));
    }
    if (!m->c.tied) TRY(parameters_gradients(s, &embedding, 0, &accumulate));
    TRY(embedding_backward(m->dev, m->env.t, embedding.dw[P_WTE], embedding.dw[P_WPE], m->gradients.dx, m->tokens,
                           embedding_of(m), accumulate || m->c.tied, accumulate));
    TRY(fsdp_reduce(&s->f, 0));
    return loss ? read_losses(m, loss) : STATUS_OK;
}

status model_set_updates(model *m, uint64_t updates) {
    m->parameters.step = updates;
    return m->dev->ops->copy(m->dev, &m->verdict->updates, &updates, sizeof updates);
}
