#include "train/model/model.h"

#include <assert.h>
#include <stdlib.h>

#include "layers/attention.h"
#include "layers/classifier.h"
#include "layers/crossentropy.h"
#include "layers/embedding.h"
#include "layers/norm.h"

static void layout(model *m, arena *a, const model_extra *extra) {
    const model_config *c = &m->c;
    const block_env *e = &m->env;
    i64 N = m->s.B * m->s.T, C = c->C;
    size_t row = (size_t)C * dtype_bytes(e->t);
    parameters_layout(&m->parameters, a);
    rope_layout(&m->env.rope, a, c->learned_positions ? 0 : m->s.T, c->D);
    m->tokens = arena_take(a, MEM_SCRATCH, (size_t)N * 4);
    m->targets = arena_take(a, MEM_SCRATCH, (size_t)N * 4);
    m->starts = arena_take(a, MEM_SCRATCH, m->s.documents ? (size_t)N * 4 : 0);
    bool training = m->parameters.o.training;
    for (i64 l = 0; l < c->L; l++)
        block_layout_kept(&m->kept[l], a, e, N, training ? recompute_of_block(m->s.recompute, l) : RECOMPUTE_BLOCK);
    block_layout_shared(&m->shared, a, e, N, training ? m->s.recompute.kind : RECOMPUTE_BLOCK);
    m->x = arena_take(a, MEM_ACTIVATIONS, (size_t)N * row);
    m->h = arena_take(a, MEM_ACTIVATIONS, (size_t)N * row);
    m->norm.mean = arena_take(a, MEM_ACTIVATIONS, c->layer_norm ? (size_t)N * 4 : 0);
    m->norm.rstd = arena_take(a, MEM_ACTIVATIONS, (size_t)N * 4);
    m->losses = arena_take(a, MEM_SCRATCH, (size_t)N * 4);
    m->logits = arena_take(a, MEM_LOGITS, classifier_logits_bytes(m->dev, e->t, N, c->V));
    if (training) block_layout_gradients(&m->gradients, a, e, m->s.B, m->s.T);
    if (extra) extra->layout(extra->context, a, &m->parameters);
}

/* Refuses sizes that overflow 64 bits. The sum below is an upper bound of the bytes that layout takes per token, in f32.
 * model_config_check bounds the parameters. */
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
    if (!m->kept) FAIL(MEM, "no memory for %ld layers", c->L);
    m->env = (block_env){.dev = dev, .c = &m->c, .t = options.t};
    return parameters_init(&m->parameters, dev, c, options);
}

status model_plan(size_t bytes[MEM_CATEGORIES], device *dev, const model_config *c, model_shape s,
                  parameters_options options, const model_extra *extra) {
    model m;
    arena plan = {0};
    status_code st = prepare(&m, dev, c, s, options);
    if (!st) {
        layout(&m, &plan, extra);
        memcpy(bytes, plan.bytes, sizeof plan.bytes);
    }
    model_free(&m);
    return st;
}

status model_init(model *m, device *dev, const model_config *c, model_shape s, parameters_options options,
                  const model_extra *extra) {
    status_code st = STATUS_OK;
    TRY_DONE(prepare(m, dev, c, s, options));
    m->host_losses = malloc((size_t)(s.B * s.T) * 4);
    if (!m->host_losses) FAIL_DONE(MEM, "no memory for the losses of %ld tokens", s.B * s.T);
    layout(m, &m->memory, extra);
    TRY_DONE(arena_commit(&m->memory, dev));
    layout(m, &m->memory, extra);
    if (!c->learned_positions && !dev->dry) TRY_DONE(rope_fill(&m->env.rope, dev, c->rope));
done:
    if (st) model_free(m);
    return st;
}

void model_free(model *m) {
    parameters_free(&m->parameters); /* first: its collectives in flight still use the memory */
    arena_free(&m->memory);
    free(m->kept);
    free(m->host_losses);
    *m = (model){0};
}

static norm_layer final_norm(const model *m, const walk_unit *head) {
    const model_config *c = &m->c;
    return (norm_layer){.g = head->v.w[P_NORM_G],
                        .b = head->v.w[P_NORM_B],
                        .dg = head->v.dw[P_NORM_G],
                        .db = head->v.dw[P_NORM_B],
                        .accumulate = head->accumulate,
                        .s = {.N = m->s.B * m->s.T, .G = 1, .C = c->C, .ldx = c->C, .ldy = c->C, .eps = c->norm_eps}};
}

static embedding embedding_of(const model *m, const walk_unit *u) {
    return (embedding){.wte = u->v.w[P_WTE],
                       .wpe = u->v.w[P_WPE],
                       .dwte = u->v.dw[P_WTE],
                       .dwpe = u->v.dw[P_WPE],
                       .accumulate_wte = u->accumulate_matrix,
                       .accumulate_wpe = u->accumulate,
                       .C = m->c.C,
                       .V = m->c.V,
                       .positions = m->c.learned_positions ? m->c.context : 0};
}

static classifier classifier_of(const model *m, const walk_unit *head) {
    return (classifier){.w = head->v.w[P_HEAD_W],
                        .dw = head->v.dw[P_HEAD_W],
                        .accumulate = head->accumulate_matrix,
                        .logits = m->logits,
                        .C = m->c.C,
                        .V = m->c.V};
}

static void *block_output(model *m, i64 layer) { return layer + 1 < m->c.L ? m->kept[layer + 1].x : m->x; }

/* Kernels find what is not masked by bisection: it must be as tokens.h says. */
static status check_starts(const model *m, token_batch b) {
    if (!m->s.documents) FAIL(ARG, "a batch with starts of documents, but the model was opened without documents");
    for (i64 n = 0; n < b.B * b.T; n++) {
        i64 t = n % b.T;
        if (b.starts[n] != t && (t == 0 || b.starts[n] != b.starts[n - 1]))
            FAIL(DATA, "start %d at %ld of the batch, expected %ld or that of the token before it", b.starts[n], n, t);
    }
    return STATUS_OK;
}

/* on the host, since a GPU would report it only later */
static status check_batch(const model *m, token_batch b) {
    if (b.B != m->s.B || b.T != m->s.T)
        FAIL(ARG, "a batch of %ld x %ld tokens, expected the model's %ld x %ld", b.B, b.T, m->s.B, m->s.T);
    for (i64 n = 0; n < b.B * b.T; n++) {
        if (b.tokens[n] < 0 || b.tokens[n] >= m->c.V)
            FAIL(DATA, "token %d at %ld of the batch, expected 0 to %ld", b.tokens[n], n, m->c.V - 1);
        if (b.targets[n] < -1 || b.targets[n] >= m->c.V)
            FAIL(DATA, "target %d at %ld of the batch, expected -1 to %ld", b.targets[n], n, m->c.V - 1);
    }
    return b.starts ? check_starts(m, b) : STATUS_OK;
}

/* --- the callbacks of the walk (walk.h) --- */

typedef struct {
    model *m;
    token_batch batch;        /* on the host */
    i64 pairs, pairs_in_full; /* of a head, in layers with the window and in others; only with starts */
    float scale;
    bool first;
} micro_batch;

static token_batch batch_on_device(const micro_batch *b) {
    const model *m = b->m;
    return (token_batch){.tokens = m->tokens,
                         .targets = m->targets,
                         .B = m->s.B,
                         .T = m->s.T,
                         .starts = b->batch.starts ? m->starts : NULL};
}

static block_batch batch_of_layer(const micro_batch *b, i64 layer) {
    const model *m = b->m;
    i64 window = model_config_window(&m->c, layer);
    return (block_batch){.B = m->s.B,
                         .T = m->s.T,
                         .window = window,
                         .starts = b->batch.starts ? m->starts : NULL,
                         .pairs = window ? b->pairs : b->pairs_in_full};
}

static status begin(void *context) {
    micro_batch *b = context;
    model *m = b->m;
    const int32_t *starts = b->batch.starts;
    size_t bytes = (size_t)(m->s.B * m->s.T) * 4;
    TRY(check_batch(m, b->batch));
    if (starts) {
        b->pairs_in_full = (i64)attention_pairs(m->s.B, m->s.T, 0, starts);
        b->pairs = (i64)attention_pairs(m->s.B, m->s.T, m->c.window, starts);
        TRY(m->dev->ops->upload(m->dev, m->starts, starts, bytes));
    }
    TRY(m->dev->ops->upload(m->dev, m->tokens, b->batch.tokens, bytes));
    return m->dev->ops->upload(m->dev, m->targets, b->batch.targets, bytes);
}

static status look(void *context) {
    const model *m = ((const micro_batch *)context)->m;
    return m->look ? m->look(m->look_context) : STATUS_OK;
}

static status forward_embedding(void *context, const walk_unit *u) {
    const micro_batch *b = context;
    model *m = b->m;
    const embedding e = embedding_of(m, u);
    return embedding_forward(m->dev, m->env.t, m->kept[0].x, batch_on_device(b), &e, 0);
}

static status forward_block(void *context, const walk_unit *u) {
    const micro_batch *b = context;
    model *m = b->m;
    const block_activations a = block_merge(&m->shared, &m->kept[u->layer]);
    const block_batch batch = batch_of_layer(b, u->layer);
    return block_forward(&m->env, &u->v, &a, block_output(m, u->layer), &batch, NULL, 0);
}

static status forward_head(void *context, const walk_unit *u) {
    model *m = ((micro_batch *)context)->m;
    const norm_layer n = final_norm(m, u);
    return norm_forward(m->dev, m->env.t, m->h, m->norm, m->x, &n);
}

static status head_loss(void *context, const walk_unit *u) {
    const micro_batch *b = context;
    model *m = b->m;
    dtype t = m->env.t;
    const classifier head = classifier_of(m, u);
    TRY(classifier_forward_backward(m->dev, t, m->losses, head.dw ? m->h : NULL, m->h, &head, batch_on_device(b),
                                    b->scale));
    if (!head.dw) return STATUS_OK;
    if (m->nats) TRY(crossentropy_sum_losses(m->dev, m->nats, m->losses, m->s.B * m->s.T, !b->first));
    const norm_layer n = final_norm(m, u);
    return norm_backward(m->dev, t, m->gradients.dx, NULL, m->h, m->x, m->norm, &n);
}

static status backward_block(void *context, const walk_unit *u) {
    const micro_batch *b = context;
    model *m = b->m;
    const block_activations a = block_merge(&m->shared, &m->kept[u->layer]);
    const block_batch batch = batch_of_layer(b, u->layer);
    return block_backward(&m->env, &u->v, &a, &m->gradients, &batch, recompute_of_block(m->s.recompute, u->layer),
                          u->accumulate);
}

static status backward_embedding(void *context, const walk_unit *u) {
    const micro_batch *b = context;
    model *m = b->m;
    const embedding e = embedding_of(m, u);
    return embedding_backward(m->dev, m->env.t, m->gradients.dx, batch_on_device(b), &e);
}

static const walk_ops ops = {.begin = begin,
                             .before_unit = look,
                             .embed_forward = forward_embedding,
                             .block_forward = forward_block,
                             .head_forward = forward_head,
                             .head_loss = head_loss,
                             .block_backward = backward_block,
                             .embed_backward = backward_embedding};

/* The host waits for the losses. */
static status read_losses(model *m, double *loss) {
    i64 N = m->s.B * m->s.T;
    TRY(m->dev->ops->copy(m->dev, m->host_losses, m->losses, (size_t)N * 4));
    *loss = 0;
    for (i64 n = 0; n < N; n++) *loss += m->host_losses[n];
    return STATUS_OK;
}

status model_loss(model *m, double *loss, token_batch b) {
    micro_batch context = {.m = m, .batch = b};
    TRY(walk_evaluate(&(walk){&m->parameters, &ops, &context}));
    return read_losses(m, loss);
}

status model_forward_backward(model *m, double *loss, token_batch b, float scale, bool first, bool last) {
    micro_batch context = {.m = m, .batch = b, .scale = scale, .first = first};
    TRY(walk_train(&(walk){&m->parameters, &ops, &context}, first, last));
    return loss ? read_losses(m, loss) : STATUS_OK;
}

status model_dry_run(model *m, bool first, bool last) {
    walk_ops without_batch = ops;
    micro_batch context = {.m = m, .scale = 1, .first = first};
    without_batch.begin = NULL;
    assert(m->dev->dry);
    return walk_train(&(walk){&m->parameters, &without_batch, &context}, first, last);
}
