#include "train/sampler.h"

#include <math.h>
#include <stdlib.h>

#include "layers/embedding.h"
#include "layers/norm.h"
#include "runtime/gemm.h"
#include "runtime/rng.h"
#include "train/checkpoint/weights.h"

enum { CHUNK = 128 }; /* most tokens of a prompt in one forward pass */

struct sampler {
    device *dev;
    comm *world; /* this process alone */
    model_config c;
    parameters parameters;
    arena memory;
    block_env env;
    i64 context;
    block_activations kept, shared;
    block_cache *cache; /* [L] */
    void *y, *h;        /* [CHUNK,C] */
    norm_statistics norm;
    float *logits, *host_logits;
    int32_t *tokens;  /* [CHUNK] on the device */
    int32_t *history; /* [context] what is in the cache */
    i64 used;
    i64 last_row; /* row of the last chunk whose logits are drawn from */
    uint64_t draws;
};

static void layout(sampler *s, arena *a) {
    const model_config *c = &s->c;
    size_t element = dtype_bytes(s->env.t), row = (size_t)c->C * element;
    parameters_layout(&s->parameters, a);
    rope_layout(&s->env.rope, a, c->learned_positions ? 0 : s->context, c->D);
    block_layout_kept(&s->kept, a, &s->env, CHUNK, RECOMPUTE_BLOCK);
    block_layout_shared(&s->shared, a, &s->env, CHUNK, RECOMPUTE_BLOCK);
    for (i64 l = 0; l < c->L; l++) {
        s->cache[l].k = arena_take(a, MEM_ACTIVATIONS, (size_t)(s->context * c->K * c->D) * element);
        s->cache[l].v = arena_take(a, MEM_ACTIVATIONS, (size_t)(s->context * c->K * c->D) * element);
    }
    s->y = arena_take(a, MEM_ACTIVATIONS, CHUNK * row);
    s->h = arena_take(a, MEM_ACTIVATIONS, row);
    s->norm.mean = arena_take(a, MEM_ACTIVATIONS, c->layer_norm ? 4 : 0);
    s->norm.rstd = arena_take(a, MEM_ACTIVATIONS, 4);
    s->logits = arena_take(a, MEM_LOGITS, (size_t)c->V * 4);
    s->tokens = arena_take(a, MEM_SCRATCH, CHUNK * sizeof *s->tokens);
}

status sampler_open(sampler **out, device *dev, const model_config *c, const char *weights, dtype t, i64 context) {
    if (context < 2 || context > c->context)
        FAIL(ARG, "context of %ld tokens: expected 2 to the model's %ld", context, c->context);
    sampler *s = calloc(1, sizeof *s);
    if (!s) FAIL(MEM, "no memory for the sampler");
    status_code st = STATUS_OK;
    s->dev = dev;
    s->c = *c;
    s->context = context;
    s->env = (block_env){.dev = dev, .c = &s->c, .t = t};
    s->cache = calloc((size_t)c->L, sizeof *s->cache);
    s->history = calloc((size_t)context, sizeof *s->history);
    s->host_logits = malloc((size_t)c->V * 4);
    if (!s->cache || !s->history || !s->host_logits) FAIL_DONE(MEM, "no memory for a sampler of %ld layers", c->L);
    TRY_DONE(comm_open_self(&s->world));
    TRY_DONE(parameters_init(&s->parameters, dev, c, (parameters_options){.t = t, .shard = {.world = s->world}}));
    layout(s, &s->memory);
    TRY_DONE(arena_commit(&s->memory, dev));
    layout(s, &s->memory);
    if (!c->learned_positions) TRY_DONE(rope_fill(&s->env.rope, dev, c->rope));
    TRY_DONE(weights_read(&s->parameters, &s->c, weights));
    *out = s;
done:
    if (st) sampler_close(s);
    return st;
}

void sampler_close(sampler *s) {
    if (!s) return;
    arena_free(&s->memory);
    parameters_free(&s->parameters);
    comm_close(s->world);
    free(s->cache);
    free(s->history);
    free(s->host_logits);
    free(s);
}

void sampler_restart(sampler *s, uint64_t index) {
    s->used = 0;
    s->draws = index << 40;
}

const float *sampler_logits(const sampler *s) { return s->host_logits; }

/* Adds n <= CHUNK tokens to the cache. s->y: the last block's output. */
static status feed_chunk(sampler *s, const int32_t *tokens, i64 n) {
    device *dev = s->dev;
    const model_config *c = &s->c;
    memcpy(s->history + s->used, tokens, (size_t)n * sizeof *tokens);
    TRY(dev->ops->copy(dev, s->tokens, tokens, (size_t)n * sizeof *tokens));
    unit_views w = parameters_views(&s->parameters, 0);
    const embedding e = {
        .wte = w.w[P_WTE], .wpe = w.w[P_WPE], .C = c->C, .V = c->V, .positions = c->learned_positions ? c->context : 0};
    block_activations a = block_merge(&s->shared, &s->kept);
    TRY(embedding_forward(dev, s->env.t, a.x, (token_batch){.tokens = s->tokens, .B = 1, .T = n}, &e, s->used));
    for (i64 l = 0; l < c->L; l++) {
        w = parameters_views(&s->parameters, (int)l + 1);
        const block_batch b = {.B = 1, .T = n, .window = model_config_window(c, l)};
        TRY(block_forward(&s->env, &w, &a, s->y, &b, &s->cache[l], s->used));
        void *input = a.x;
        a.x = s->y;
        s->y = input;
    }
    s->kept.x = s->y; /* the loop has swapped the two buffers */
    s->y = a.x;
    s->used += n;
    return STATUS_OK;
}

static status feed(sampler *s, const int32_t *tokens, i64 count) {
    for (i64 n; count; tokens += n, count -= n) {
        if (s->used == s->context) { /* full: feed its last half again, from position 0 */
            i64 half = s->context / 2;
            int32_t *again = malloc((size_t)half * sizeof *again);
            if (!again) FAIL(MEM, "no memory for %ld tokens", half);
            memcpy(again, s->history + s->context - half, (size_t)half * sizeof *again);
            s->used = 0;
            status_code st = feed(s, again, half);
            free(again);
            TRY(st);
        }
        n = s->context - s->used;
        n = n > CHUNK ? CHUNK : n;
        n = n > count ? count : n;
        TRY(feed_chunk(s, tokens, n));
        s->last_row = n - 1;
    }
    return STATUS_OK;
}

typedef struct {
    float p;
    int32_t token;
} candidate;

/* Most likely first. Ties by token, so that the order is unique. */
static int by_probability(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return x->p < y->p ? 1 : x->p > y->p ? -1 : x->token - y->token;
}

status sampler_sample(int32_t *token, const float *logits, i64 V, const sampling *how, uint64_t draw) {
    i64 best = 0;
    for (i64 v = 0; v < V; v++) {
        if (!isfinite(logits[v]))
            FAIL(NUMERIC, "the logit of token %ld is %g, expected a finite number: the weights are damaged", v,
                 logits[v]);
        if (logits[v] > logits[best]) best = v;
    }
    *token = (int32_t)best;
    if (how->temperature == 0) return STATUS_OK;
    candidate *list = malloc((size_t)V * sizeof *list);
    if (!list) FAIL(MEM, "no memory for %ld candidates", V);
    for (i64 v = 0; v < V; v++)
        list[v] = (candidate){expf((float)((logits[v] - logits[best]) / how->temperature)), (int32_t)v};
    qsort(list, (size_t)V, sizeof *list, by_probability);
    i64 n = how->top_k > 0 && how->top_k < V ? how->top_k : V;
    double sum = 0, kept = 0;
    for (i64 i = 0; i < n; i++) sum += list[i].p;
    i64 m = 0;
    while (m < n && kept < how->top_p * sum) kept += list[m++].p;
    double u = rng_uniform(how->seed, RNG_SAMPLE, draw) * kept;
    i64 i = 0;
    for (double below = list[0].p; i + 1 < m && below <= u; below += list[i].p) i++;
    *token = list[i].token;
    free(list);
    return STATUS_OK;
}

status sampler_next(sampler *s, int32_t *next, const int32_t *tokens, i64 count, const sampling *how) {
    device *dev = s->dev;
    const model_config *c = &s->c;
    if (count < 1) FAIL(ARG, "sampler: no tokens");
    TRY(feed(s, tokens, count));
    unit_views w = parameters_views(&s->parameters, (int)c->L + 1);
    const void *head = c->tied ? parameters_views(&s->parameters, 0).w[P_WTE] : w.w[P_HEAD_W];
    const norm_layer last = {.g = w.w[P_NORM_G],
                             .b = w.w[P_NORM_B],
                             .s = {.N = 1, .G = 1, .C = c->C, .ldx = c->C, .ldy = c->C, .eps = c->norm_eps}};
    const void *row = tensor_at(s->y, s->env.t, s->last_row * c->C);
    TRY(norm_forward(dev, s->env.t, s->h, s->norm, row, &last));
    TRY(gemm(dev, &(gemm_args){.M = 1,
                               .N = c->V,
                               .K = c->C,
                               .A = s->h,
                               .lda = c->C,
                               .B = head,
                               .ldb = c->C,
                               .trans_b = true,
                               .D = s->logits,
                               .ldd = c->V,
                               .ab = s->env.t,
                               .d = F32,
                               .b_is_weight = true,
                               .work = WORK_FORWARD}));
    TRY(dev->ops->copy(dev, s->host_logits, s->logits, (size_t)c->V * 4));
    return sampler_sample(next, s->host_logits, c->V, how, s->draws++);
}
