#include "train/sampler.h"

#include <math.h>
#include <stdlib.h>

#include "layers/embedding.h"
#include "layers/norm.h"
#include "runtime/gemm.h"
#include "runtime/rng.h"
#include "train/checkpoint/weights.h"

enum { CHUNK = 128 }; /* most tokens in one forward pass: of a prompt, or one of each row */
_Static_assert((int)SAMPLER_MOST_ROWS <= (int)CHUNK, "a step of all rows is one forward pass");

typedef struct {
    int32_t *history; /* [context] what is in the cache */
    i64 used;
    uint64_t draws;
} sampler_row;

struct sampler {
    device *dev;
    comm *world; /* this process alone */
    model_config c;
    parameters parameters;
    arena memory;
    block_env env;
    i64 context;
    block_activations kept, shared;
    i64 rows;
    sampler_row *row;   /* [rows] */
    block_cache *cache; /* [L,rows] */
    block_cache *now;   /* [rows] those of the rows of a pass, in one layer */
    void *y, *h;        /* [CHUNK,C], [rows,C] */
    norm_statistics norm;
    float *logits, *host_logits; /* [rows,V] */
    int32_t *tokens, *starts;    /* [CHUNK] on the device */
};

static void layout(sampler *s, arena *a) {
    const model_config *c = &s->c;
    size_t element = dtype_bytes(s->env.t), row = (size_t)c->C * element;
    parameters_layout(&s->parameters, a);
    rope_layout(&s->env.rope, a, c->learned_positions ? 0 : s->context, c->D);
    block_layout_kept(&s->kept, a, &s->env, CHUNK, RECOMPUTE_BLOCK);
    block_layout_shared(&s->shared, a, &s->env, CHUNK, RECOMPUTE_BLOCK);
    size_t rows = (size_t)s->rows;
    for (i64 i = 0; i < c->L * s->rows; i++) {
        s->cache[i].k = arena_take(a, MEM_ACTIVATIONS, (size_t)(s->context * c->K * c->D) * element);
        s->cache[i].v = arena_take(a, MEM_ACTIVATIONS, (size_t)(s->context * c->K * c->D) * element);
    }
    s->y = arena_take(a, MEM_ACTIVATIONS, CHUNK * row);
    s->h = arena_take(a, MEM_ACTIVATIONS, rows * row);
    s->norm.mean = arena_take(a, MEM_ACTIVATIONS, c->layer_norm ? rows * 4 : 0);
    s->norm.rstd = arena_take(a, MEM_ACTIVATIONS, rows * 4);
    s->logits = arena_take(a, MEM_LOGITS, rows * (size_t)c->V * 4);
    s->tokens = arena_take(a, MEM_SCRATCH, CHUNK * sizeof *s->tokens);
    s->starts = arena_take(a, MEM_SCRATCH, CHUNK * sizeof *s->starts);
}

static status take_host_memory(sampler *s) {
    size_t rows = (size_t)s->rows;
    s->cache = calloc((size_t)s->c.L * rows, sizeof *s->cache);
    s->now = calloc(rows, sizeof *s->now);
    s->row = calloc(rows, sizeof *s->row);
    s->host_logits = malloc(rows * (size_t)s->c.V * 4);
    if (!s->cache || !s->now || !s->row || !s->host_logits) FAIL(MEM, "no memory for a sampler of %zu rows", rows);
    for (size_t r = 0; r < rows; r++)
        if (!(s->row[r].history = calloc((size_t)s->context, sizeof *s->row->history)))
            FAIL(MEM, "no memory for a sampler of %zu rows", rows);
    return STATUS_OK;
}

status sampler_open(sampler **out, device *dev, const model_config *c, const char *weights, dtype t, i64 context,
                    i64 rows) {
    if (rows < 1 || rows > SAMPLER_MOST_ROWS) FAIL(ARG, "%ld rows: expected 1 to %d", rows, SAMPLER_MOST_ROWS);
    if (context < 2 || context > c->context)
        FAIL(ARG, "context of %ld tokens: expected 2 to the model's %ld", context, c->context);
    sampler *s = calloc(1, sizeof *s);
    if (!s) FAIL(MEM, "no memory for the sampler");
    status_code st = STATUS_OK;
    s->dev = dev;
    s->c = *c;
    s->context = context;
    s->env = (block_env){.dev = dev, .c = &s->c, .t = t};
    s->rows = rows;
    TRY_DONE(take_host_memory(s));
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
    for (i64 r = 0; s->row && r < s->rows; r++) free(s->row[r].history);
    free(s->row);
    free(s->cache);
    free(s->now);
    free(s->host_logits);
    free(s);
}

void sampler_restart(sampler *s, i64 row, uint64_t index) {
    s->row[row].used = 0;
    s->row[row].draws = index << 40;
}

const float *sampler_logits(const sampler *s) { return s->host_logits; }

/* The next T tokens of each of B rows: of one row, or T is 1. s->y: the last block's output. */
static status feed_pass(sampler *s, const i64 *rows, token_batch b) {
    device *dev = s->dev;
    const model_config *c = &s->c;
    i64 first = 0;
    int32_t starts[CHUNK];
    for (i64 i = 0; i < b.B; i++) {
        sampler_row *r = &s->row[rows[i]];
        memcpy(r->history + r->used, b.tokens + i * b.T, (size_t)b.T * sizeof *b.tokens);
        if (r->used > first) first = r->used;
    }
    for (i64 i = 0; i < b.B; i++) starts[i] = (int32_t)(first - s->row[rows[i]].used);
    size_t bytes = (size_t)(b.B * b.T) * sizeof *b.tokens;
    TRY(dev->ops->copy(dev, s->tokens, b.tokens, bytes));
    if (b.B > 1) TRY(dev->ops->copy(dev, s->starts, starts, bytes));
    b.tokens = s->tokens;
    b.starts = b.B > 1 ? s->starts : NULL;
    unit_views w = parameters_views(&s->parameters, 0);
    const embedding e = {
        .wte = w.w[P_WTE], .wpe = w.w[P_WPE], .C = c->C, .V = c->V, .positions = c->learned_positions ? c->context : 0};
    block_activations a = block_merge(&s->shared, &s->kept);
    TRY(embedding_forward(dev, s->env.t, a.x, b, &e, first));
    for (i64 l = 0; l < c->L; l++) {
        w = parameters_views(&s->parameters, (int)l + 1);
        for (i64 i = 0; i < b.B; i++) {
            s->now[i] = s->cache[l * s->rows + rows[i]];
            s->now[i].used = s->row[rows[i]].used;
        }
        const block_batch of = {.B = b.B, .T = b.T, .window = model_config_window(c, l), .starts = b.starts};
        TRY(block_forward(&s->env, &w, &a, s->y, &of, s->now, first));
        void *input = a.x;
        a.x = s->y;
        s->y = input;
    }
    s->kept.x = s->y; /* the loop has swapped the two buffers */
    s->y = a.x;
    for (i64 i = 0; i < b.B; i++) s->row[rows[i]].used += b.T;
    return STATUS_OK;
}

static status feed(sampler *s, i64 row, const int32_t *tokens, i64 count, i64 *last);

/* Room for the next token of a row. If its cache is full, the last half is fed again, from position 0. */
static status make_room(sampler *s, i64 row) {
    sampler_row *r = &s->row[row];
    if (r->used < s->context) return STATUS_OK;
    i64 half = s->context / 2, last;
    int32_t *again = malloc((size_t)half * sizeof *again);
    if (!again) FAIL(MEM, "no memory for %ld tokens", half);
    memcpy(again, r->history + s->context - half, (size_t)half * sizeof *again);
    r->used = 0;
    status_code st = feed(s, row, again, half, &last);
    free(again);
    return st;
}

/* *last: where the output of the last token is in s->y */
static status feed(sampler *s, i64 row, const int32_t *tokens, i64 count, i64 *last) {
    for (i64 n; count; tokens += n, count -= n) {
        TRY(make_room(s, row));
        n = s->context - s->row[row].used;
        n = n > CHUNK ? CHUNK : n;
        n = n > count ? count : n;
        TRY(feed_pass(s, &row, (token_batch){.tokens = tokens, .B = 1, .T = n}));
        *last = n - 1;
    }
    return STATUS_OK;
}

typedef struct {
    float p;
    int32_t token;
} candidate;

/* Whether x comes before y: the most likely first. Ties by token, so that the order is unique. */
static bool before(candidate x, candidate y) { return x.p != y.p ? x.p > y.p : x.token < y.token; }

/* Candidates in order, without sorting all of them: a heap of those that were not taken yet, in list[0 .. left); the i-th one that
 * was taken is list[count - 1 - i]. */
typedef struct {
    candidate *list;
    i64 count, left;
} candidates;

static void sift(candidates *c, i64 at) {
    candidate moved = c->list[at];
    for (i64 child; (child = 2 * at + 1) < c->left; at = child) {
        if (child + 1 < c->left && before(c->list[child + 1], c->list[child])) child++;
        if (before(moved, c->list[child])) break;
        c->list[at] = c->list[child];
    }
    c->list[at] = moved;
}

static candidate candidate_at(candidates *c, i64 i) {
    while (c->count - c->left <= i) {
        candidate first = c->list[0];
        c->list[0] = c->list[--c->left];
        c->list[c->left] = first;
        sift(c, 0);
    }
    return c->list[c->count - 1 - i];
}

static int32_t draw_candidate(candidates *c, const sampling *how, double sum, double uniform) {
    i64 n = c->count, m = 0, i = 0;
    for (i64 at = n / 2; at-- > 0;) sift(c, at);
    if (how->top_k > 0 && how->top_k < n) {
        n = how->top_k;
        for (sum = 0; m < n; m++) sum += candidate_at(c, m).p;
    }
    double kept = how->top_p < 1 ? 0 : sum, below = candidate_at(c, 0).p;
    if (how->top_p < 1)
        for (m = 0; m < n && kept < how->top_p * sum; m++) kept += candidate_at(c, m).p;
    else m = n;
    for (double u = uniform * kept; i + 1 < m && below <= u; below += candidate_at(c, i).p) i++;
    return candidate_at(c, i).token;
}

status sampler_sample(int32_t *token, const float *logits, i64 V, const sampling *how, uint64_t draw) {
    i64 best = 0;
    if (V < 1) FAIL(ARG, "sampler: %ld logits, expected at least 1", V);
    for (i64 v = 0; v < V; v++) {
        if (!isfinite(logits[v]))
            FAIL(NUMERIC, "the logit of token %ld is %g, expected a finite number: the weights are damaged", v,
                 logits[v]);
        if (logits[v] > logits[best]) best = v;
    }
    *token = (int32_t)best;
    if (how->temperature == 0) return STATUS_OK;
    candidates c = {.list = malloc((size_t)V * sizeof *c.list), .count = V, .left = V};
    if (!c.list) FAIL(MEM, "no memory for %ld candidates", V);
    double sum = 0;
    for (i64 v = 0; v < V; v++) {
        c.list[v] = (candidate){expf((float)((logits[v] - logits[best]) / how->temperature)), (int32_t)v};
        sum += c.list[v].p;
    }
    *token = draw_candidate(&c, how, sum, rng_uniform(how->seed, RNG_SAMPLE, draw));
    free(c.list);
    return STATUS_OK;
}

/* The logits of N rows of s->y from `from` on. */
static status compute_logits(sampler *s, i64 from, i64 N) {
    device *dev = s->dev;
    const model_config *c = &s->c;
    unit_views w = parameters_views(&s->parameters, (int)c->L + 1);
    const void *head = c->tied ? parameters_views(&s->parameters, 0).w[P_WTE] : w.w[P_HEAD_W];
    const norm_layer last = {.g = w.w[P_NORM_G],
                             .b = w.w[P_NORM_B],
                             .s = {.N = N, .G = 1, .C = c->C, .ldx = c->C, .ldy = c->C, .eps = c->norm_eps}};
    TRY(norm_forward(dev, s->env.t, s->h, s->norm, tensor_at(s->y, s->env.t, from * c->C), &last));
    TRY(gemm(dev, &(gemm_args){.M = N,
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
    return dev->ops->copy(dev, s->host_logits, s->logits, (size_t)(N * c->V) * 4);
}

status sampler_next(sampler *s, i64 row, int32_t *next, const int32_t *tokens, i64 count, const sampling *how) {
    i64 last;
    if (count < 1) FAIL(ARG, "sampler: no tokens");
    TRY(feed(s, row, tokens, count, &last));
    TRY(compute_logits(s, last, 1));
    return sampler_sample(next, s->host_logits, s->c.V, how, s->row[row].draws++);
}

status sampler_next_rows(sampler *s, const i64 *rows, i64 count, int32_t *tokens, const sampling *how) {
    if (count == 1) return sampler_next(s, *rows, tokens, tokens, 1, how);
    for (i64 i = 0; i < count; i++) TRY(make_room(s, rows[i]));
    TRY(feed_pass(s, rows, (token_batch){.tokens = tokens, .B = count, .T = 1}));
    TRY(compute_logits(s, 0, count));
    for (i64 i = 0; i < count; i++)
        TRY(sampler_sample(&tokens[i], s->host_logits + i * s->c.V, s->c.V, how, s->row[rows[i]].draws++));
    return STATUS_OK;
}
