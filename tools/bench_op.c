#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "layers/activation.h"
#include "layers/classifier.h"
#include "layers/crossentropy.h"
#include "layers/embedding.h"
#include "layers/norm.h"
#include "optim/adamw.h"
#include "optim/gradnorm.h"
#include "runtime/json.h"
#include "runtime/rng.h"
#include "runtime/text.h"
#include "tools/bench.h"
#include "tools/command.h"

/* Times the operations that are bound by memory bandwidth, one at a time, on tensors of the model's shapes. Each is compared
 * with a copy that moves as many bytes, so that tensors that fit in a cache do so for both. */

enum { MOST_PARAMETERS = 1 << 26, FILL_BYTES = 4 << 20, MOST_REPEATS = 1000 };

/* Every operation takes its tensors from the start of `pool`. With pool NULL it only adds up their bytes, in `used`. */
typedef struct {
    device *dev;
    const model_config *c;
    dtype t;
    i64 B, T, N, occurring; /* occurring: distinct tokens */
    char *pool;
    size_t pool_bytes, used;
    double bytes; /* moved, as the operation's header states */
    int32_t *tokens;
    step_verdict *verdict;
} workbench;

static void *take(workbench *w, i64 elements, dtype t) {
    char *p = w->pool ? w->pool + w->used : NULL;
    w->used += ((size_t)elements * dtype_bytes(t) + 255) & ~(size_t)255;
    return p;
}

static void *take_f32(workbench *w, i64 elements) { return take(w, elements, F32); }
static double width(const workbench *w) { return (double)dtype_bytes(w->t); }

/* --- the operations --- */

static status run_norm(workbench *w, bool backward) {
    const model_config *c = w->c;
    norm_shape s = {.N = w->N, .G = 1, .C = c->C, .ldx = c->C, .ldy = c->C, .eps = c->norm_eps};
    norm_layer n = {.s = s, .accumulate = true};
    norm_statistics saved = {0};
    void *x = take(w, s.N * s.C, w->t), *y = take(w, s.N * s.C, w->t);
    void *dx = backward ? take(w, s.N * s.C, w->t) : NULL;
    n.g = take(w, s.C, w->t), n.dg = take_f32(w, s.C), saved.rstd = take_f32(w, s.N);
    if (c->layer_norm) n.b = take(w, s.C, w->t), n.db = take_f32(w, s.C), saved.mean = take_f32(w, s.N);
    w->bytes = (backward ? 4 : 2) * width(w) * (double)(s.N * s.C);
    if (!w->pool) return STATUS_OK;
    return backward ? norm_backward(w->dev, w->t, dx, dx, y, x, saved, &n)
                    : norm_forward(w->dev, w->t, y, saved, x, &n);
}
static status run_norm_forward(workbench *w) { return run_norm(w, false); }
static status run_norm_backward(workbench *w) { return run_norm(w, true); }

static status run_head_norm(workbench *w, bool backward) {
    const model_config *c = w->c;
    i64 ld = (c->H + 2 * c->K) * c->D;
    norm_shape s = {.N = w->N, .G = c->H, .C = c->D, .ldx = ld, .ldy = ld, .eps = c->norm_eps};
    norm_layer n = {.s = s, .accumulate = true};
    void *x = take(w, s.N * ld, w->t), *y = take(w, s.N * ld, w->t);
    norm_statistics saved = {.rstd = take_f32(w, s.N * s.G)};
    n.g = take(w, s.C, w->t), n.dg = take_f32(w, s.C);
    w->bytes = (backward ? 3 : 2) * width(w) * (double)(s.N * s.G * s.C);
    if (!w->pool) return STATUS_OK;
    return backward ? norm_backward(w->dev, w->t, y, NULL, y, x, saved, &n)
                    : norm_forward(w->dev, w->t, y, saved, x, &n);
}
static status run_head_norm_forward(workbench *w) { return run_head_norm(w, false); }
static status run_head_norm_backward(workbench *w) { return run_head_norm(w, true); }

static status run_activation(workbench *w, bool backward) {
    i64 N = w->N, F = w->c->F, in = w->c->swiglu ? 2 * F : F;
    void *x = take(w, N * in, w->t), *y = take(w, N * F, w->t), *dx = backward ? take(w, N * in, w->t) : NULL;
    w->bytes = width(w) * (double)(N * (backward ? 2 * in + F : in + F));
    if (!w->pool) return STATUS_OK;
    if (w->c->swiglu)
        return backward ? activation_swiglu_backward(w->dev, w->t, dx, y, x, N, F)
                        : activation_swiglu_forward(w->dev, w->t, y, x, N, F);
    return backward ? activation_gelu_backward(w->dev, w->t, dx, y, x, N, F)
                    : activation_gelu_forward(w->dev, w->t, y, x, N, F);
}
static status run_activation_forward(workbench *w) { return run_activation(w, false); }
static status run_activation_backward(workbench *w) { return run_activation(w, true); }

static status run_rope(workbench *w) {
    const model_config *c = w->c;
    i64 ld = (c->H + 2 * c->K) * c->D, heads = c->H + c->K;
    void *x = take(w, w->N * ld, w->t);
    rope r = {.positions = w->T, .D = c->D};
    r.cos = take_f32(w, w->T * c->D / 2), r.sin = take_f32(w, w->T * c->D / 2);
    w->bytes = 2 * width(w) * (double)(w->N * heads * c->D);
    if (!w->pool) return STATUS_OK;
    return rope_forward(w->dev, w->t, x, &r, (rope_shape){.B = w->B, .T = w->T, .G = heads, .ld = ld}, 0);
}

static embedding embedding_of(const workbench *w) {
    const model_config *c = w->c;
    return (embedding){.C = c->C, .V = c->V, .positions = c->learned_positions ? c->context : 0};
}

static token_batch batch_of(const workbench *w) { return (token_batch){.tokens = w->tokens, .B = w->B, .T = w->T}; }

static status run_embedding_forward(workbench *w) {
    embedding e = embedding_of(w);
    void *x = take(w, w->N * e.C, w->t);
    e.wte = take(w, e.V * e.C, w->t);
    if (e.positions) e.wpe = take(w, e.positions * e.C, w->t);
    w->bytes = width(w) * (double)((w->N + w->occurring + (e.positions ? w->T : 0)) * e.C);
    if (!w->pool) return STATUS_OK;
    return embedding_forward(w->dev, w->t, x, batch_of(w), &e, 0);
}

/* As in a step: with tied weights it adds to the gradient of the head, else it overwrites. */
static status run_embedding_backward(workbench *w) {
    embedding e = embedding_of(w);
    void *dx = take(w, w->N * e.C, w->t);
    e.dwte = take_f32(w, e.V * e.C), e.accumulate_wte = w->c->tied;
    if (e.positions) e.dwpe = take_f32(w, e.positions * e.C);
    double rows = w->c->tied ? 2 * (double)w->occurring : (double)e.V;
    w->bytes = ((e.positions ? 2 : 1) * width(w) * (double)w->N + 4 * (rows + (double)e.positions)) * (double)e.C;
    if (!w->pool) return STATUS_OK;
    return embedding_backward(w->dev, w->t, dx, batch_of(w), &e);
}

/* on one chunk of logits of the classifier's size */
static status run_crossentropy(workbench *w) {
    i64 V = w->c->V, n = classifier_chunk(w->dev, w->t, w->N, V);
    bool cuda = w->dev->kind == DEVICE_CUDA, in_place = cuda || w->t == F32;
    i64 ld = cuda ? (V + 63) / 64 * 64 : V;
    dtype lt = cuda ? w->t : F32;
    void *logits = take(w, n * ld, lt), *dlogits = in_place ? logits : take(w, n * ld, w->t);
    float *losses = take_f32(w, n);
    w->bytes = ((double)dtype_bytes(lt) + width(w)) * (double)(n * V);
    if (!w->pool) return STATUS_OK;
    const crossentropy_logits l = {.x = logits, .t = lt, .N = n, .V = V, .ld = ld};
    return crossentropy_forward_backward(w->dev, w->t, dlogits, losses, &l, w->tokens, 1e-3f);
}

static status run_losses_sum(workbench *w) {
    float *losses = take_f32(w, w->N), *sum = take_f32(w, 2);
    w->bytes = 4 * (double)w->N;
    return w->pool ? crossentropy_sum_losses(w->dev, (double *)(void *)sum, losses, w->N, false) : STATUS_OK;
}

static i64 parameters_of(const workbench *w) {
    i64 n = model_config_parameters(w->c);
    return n < MOST_PARAMETERS ? n : MOST_PARAMETERS;
}

static status run_adamw(workbench *w) {
    i64 n = parameters_of(w);
    bool master = w->t == BF16;
    adamw_piece p = {.n = n, .t = w->t, .weights = take(w, n, w->t), .master = master ? take_f32(w, n) : NULL};
    p.m = take_f32(w, n), p.v = take_f32(w, n), p.grads = take_f32(w, n);
    adamw_args a = {.lr = 1e-4f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .decay = 0.1f};
    w->bytes = (master ? 30 : 28) * (double)n;
    if (!w->pool) return STATUS_OK;
    return adamw_step(w->dev, &p, a, w->verdict);
}

static status run_gradnorm(workbench *w) {
    i64 n = parameters_of(w);
    float *x = take_f32(w, n), *sum = take_f32(w, 2);
    void *scratch = take_f32(w, (i64)(gradnorm_scratch_bytes(n) / 4 + 1));
    w->bytes = 4 * (double)n;
    return w->pool ? gradnorm_sum_squares(w->dev, (double *)(void *)sum, x, n, scratch) : STATUS_OK;
}

typedef enum { ALWAYS, WITH_QK_NORM, WITH_ROPE } when;

static const struct {
    const char *name;
    status (*run)(workbench *w);
    when when;
} operations[] = {
    {"norm_forward", run_norm_forward, ALWAYS},
    {"norm_backward", run_norm_backward, ALWAYS},
    {"head_norm_forward", run_head_norm_forward, WITH_QK_NORM},
    {"head_norm_backward", run_head_norm_backward, WITH_QK_NORM},
    {"activation_forward", run_activation_forward, ALWAYS},
    {"activation_backward", run_activation_backward, ALWAYS},
    {"rope", run_rope, WITH_ROPE},
    {"embedding_forward", run_embedding_forward, ALWAYS},
    {"embedding_backward", run_embedding_backward, ALWAYS},
    {"crossentropy", run_crossentropy, ALWAYS},
    {"crossentropy_sum_losses", run_losses_sum, ALWAYS},
    {"adamw_step", run_adamw, ALWAYS},
    {"gradnorm", run_gradnorm, ALWAYS},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static bool has(const model_config *c, when w) {
    return w == ALWAYS || (w == WITH_QK_NORM ? c->qk_norm : !c->learned_positions);
}

/* --- measuring --- */

typedef struct {
    double bytes, *op_s, *copy_s; /* [rounds * steps] */
    double op_median, copy_median;
    i64 repeats; /* a sample is the mean of so many calls in a row */
} result;

/* Reads and writes as many bytes together as the operation moves; on the CPU with all threads, like the operations. */
static status copy(workbench *w) {
    size_t half = (size_t)(w->bytes / 2) & ~(size_t)255;
    char *to = w->pool + w->pool_bytes / 2;
    if (w->dev->kind == DEVICE_CUDA) { /* one row is a plain copy; its stride has 31 bits */
        enum { PIECE = 1 << 30 };
        for (size_t at = 0; at < half; at += PIECE) {
            size_t bytes = half - at < PIECE ? half - at : PIECE;
            TRY(w->dev->ops->copy_rows(w->dev, to + at, bytes, w->pool + at, bytes, bytes, 1));
        }
        return STATUS_OK;
    }
    enum { ROW = 1 << 16 };
    i64 rows = (i64)(half / ROW), rest = (i64)(half % ROW);
#pragma omp parallel for schedule(static)
    for (i64 r = 0; r <= rows; r++) memcpy(to + r * ROW, w->pool + r * ROW, (size_t)(r < rows ? ROW : rest));
    return STATUS_OK;
}

static status sample(double *seconds, workbench *w, status (*run)(workbench *w), i64 repeats) {
    TRY(w->dev->ops->synchronize(w->dev));
    uint64_t since = meter_clock_ns();
    for (i64 i = 0; i < repeats; i++) {
        w->used = 0;
        TRY(run(w));
    }
    TRY(w->dev->ops->synchronize(w->dev));
    *seconds = (double)(meter_clock_ns() - since) * 1e-9 / (double)repeats;
    return STATUS_OK;
}

static status plan(workbench *w, result results[OPERATIONS]) {
    for (int i = 0; i < OPERATIONS; i++) {
        if (!has(w->c, operations[i].when)) continue;
        w->used = 0;
        TRY(operations[i].run(w));
        results[i].bytes = w->bytes;
        if (w->used > w->pool_bytes) w->pool_bytes = w->used;
        if ((size_t)w->bytes > w->pool_bytes) w->pool_bytes = (size_t)w->bytes;
    }
    w->pool_bytes = (w->pool_bytes + 511) & ~(size_t)511;
    return STATUS_OK;
}

/* Random bf16; two of them make an f32 of the same magnitude. One piece is repeated. */
static status fill_pool(workbench *w) {
    enum { COUNT = FILL_BYTES / 2 };
    status_code st = STATUS_OK;
    float *wide = malloc(COUNT * sizeof *wide);
    bf16 *piece = malloc(FILL_BYTES);
    if (!wide || !piece) FAIL_DONE(MEM, "no memory for %d bytes", FILL_BYTES);
    rng_normal(wide, COUNT, 1, 7, RNG_ORDER, 0);
    for (int i = 0; i < COUNT; i++) piece[i] = bf16_from_f32(wide[i]);
    for (size_t at = 0; at < w->pool_bytes; at += FILL_BYTES) {
        size_t left = w->pool_bytes - at;
        TRY_DONE(w->dev->ops->copy(w->dev, w->pool + at, piece, left < FILL_BYTES ? left : FILL_BYTES));
    }
done:
    free(wide);
    free(piece);
    return st;
}

static status fill_tokens(workbench *w, int32_t *host, bool *seen) {
    w->occurring = 0;
    for (i64 n = 0; n < w->N; n++) {
        host[n] = (int32_t)rng_below(7, RNG_ORDER, (uint64_t)n, (uint64_t)w->c->V);
        if (!seen[host[n]]) w->occurring++;
        seen[host[n]] = true;
    }
    step_verdict verdict = {.updates = 10, .grad_scale = 1, .m_correction = 1.5f, .v_correction = 2.5f};
    TRY(w->dev->ops->copy(w->dev, w->verdict, &verdict, sizeof verdict));
    return w->dev->ops->copy(w->dev, w->tokens, host, (size_t)w->N * sizeof *host);
}

/* Samples of an operation alternate with those of its copy. */
static status measure(workbench *w, result results[OPERATIONS], const bench_values *v) {
    for (i64 round = 0; round < v->rounds; round++)
        for (int i = 0; i < OPERATIONS; i++) {
            result *r = &results[i];
            double once;
            if (!r->bytes) continue;
            TRY(sample(&once, w, operations[i].run, 1));
            TRY(sample(&once, w, operations[i].run, 1));
            if (round == 0) r->repeats = (i64)fmin(MOST_REPEATS, ceil(2e-3 / once));
            w->bytes = r->bytes;
            TRY(sample(&once, w, copy, 1));
            for (i64 k = round * v->steps; k < (round + 1) * v->steps; k++) {
                TRY(sample(&r->copy_s[k], w, copy, r->repeats));
                TRY(sample(&r->op_s[k], w, operations[i].run, r->repeats));
            }
        }
    for (int i = 0; i < OPERATIONS; i++) {
        if (!results[i].bytes) continue;
        results[i].op_median = bench_median(results[i].op_s, v->rounds * v->steps);
        results[i].copy_median = bench_median(results[i].copy_s, v->rounds * v->steps);
    }
    return STATUS_OK;
}

static void print_table(const workbench *w, const result results[OPERATIONS], const bench_values *v) {
    printf("%s, %s, B=%ld T=%ld, on %s; medians of %ld samples, compared with copies of as many bytes\n", w->c->name,
           dtype_name(w->t), w->B, w->T, w->dev->name, v->rounds * v->steps);
    printf("  %-20s %12s %10s %10s %10s %9s\n", "operation", "moves", "us", "GB/s", "copy GB/s", "of copy");
    for (int i = 0; i < OPERATIONS; i++) {
        const result *r = &results[i];
        if (!r->bytes) continue;
        printf("  %-20s %12s %10.1f %10.1f %10.1f %9.2f\n", operations[i].name, text_bytes(r->bytes).text,
               r->op_median * 1e6, r->bytes / r->op_median * 1e-9, r->bytes / r->copy_median * 1e-9,
               r->copy_median / r->op_median);
    }
}

static status fill_json(json_t *o, const workbench *w, const result results[OPERATIONS]) {
    json_t *list = json_add_array(o, "operations");
    if (!list) FAIL(MEM, "no memory for the result");
    TRY(json_add_string(o, "model", w->c->name));
    TRY(json_add_string(o, "precision", dtype_name(w->t)));
    TRY(json_add_i64(o, "batch", w->B));
    TRY(json_add_i64(o, "seq_len", w->T));
    TRY(json_add_string(o, "device", w->dev->name));
    for (int i = 0; i < OPERATIONS; i++) {
        const result *r = &results[i];
        if (!r->bytes) continue;
        json_t *row = json_append_object(list);
        if (!row) FAIL(MEM, "no memory for the result");
        TRY(json_add_string(row, "operation", operations[i].name));
        TRY(json_add_double(row, "bytes", r->bytes));
        TRY(json_add_double(row, "us", r->op_median * 1e6));
        TRY(json_add_double(row, "bytes_per_s", r->bytes / r->op_median));
        TRY(json_add_double(row, "copy_bytes_per_s", r->bytes / r->copy_median));
        TRY(json_add_double(row, "of_copy", r->copy_median / r->op_median));
    }
    return STATUS_OK;
}

static status print_json(const workbench *w, const result results[OPERATIONS]) {
    json_t *o = json_object();
    return command_print_json(o, fill_json(o, w, results));
}

static status take_memory(workbench *w, result results[OPERATIONS], const bench_values *v, int32_t **host,
                          bool **seen) {
    size_t samples = (size_t)(v->rounds * v->steps);
    *host = malloc((size_t)w->N * sizeof **host);
    *seen = calloc((size_t)w->c->V, sizeof **seen);
    for (int i = 0; i < OPERATIONS; i++) {
        results[i].op_s = malloc(samples * sizeof(double));
        results[i].copy_s = malloc(samples * sizeof(double));
        if (!results[i].op_s || !results[i].copy_s) FAIL(MEM, "no memory for %zu times", samples);
    }
    if (!*host || !*seen) FAIL(MEM, "no memory for %ld tokens", w->N);
    TRY(w->dev->ops->alloc(w->dev, (void **)&w->tokens, (size_t)w->N * sizeof **host));
    return w->dev->ops->alloc(w->dev, (void **)&w->verdict, sizeof *w->verdict);
}

status bench_op(const bench_values *v) {
    model_config c;
    result results[OPERATIONS] = {0};
    workbench w = {
        .c = &c, .t = (dtype)v->dtypes.precision, .B = v->batch, .T = v->seq_len, .N = v->batch * v->seq_len};
    int32_t *host = NULL;
    bool *seen = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(model_config_load(&c, v->model));
    if (w.T > c.context)
        FAIL_DONE(ARG, "--seq-len %ld: %s has a context of %ld tokens; expected at most that", w.T, c.name, c.context);
    TRY_DONE(device_open(&w.dev, v->device, (int)v->threads, 0));
    TRY_DONE(take_memory(&w, results, v, &host, &seen));
    TRY_DONE(fill_tokens(&w, host, seen));
    TRY_DONE(plan(&w, results));
    TRY_DONE(w.dev->ops->alloc(w.dev, (void **)&w.pool, w.pool_bytes));
    TRY_DONE(fill_pool(&w));
    TRY_DONE(measure(&w, results, v));
    if (v->json) TRY_DONE(print_json(&w, results));
    else print_table(&w, results, v);
done:
    if (w.pool) w.dev->ops->free(w.dev, w.pool, w.pool_bytes);
    if (w.tokens) w.dev->ops->free(w.dev, w.tokens, (size_t)w.N * sizeof *host);
    if (w.verdict) w.dev->ops->free(w.dev, w.verdict, sizeof *w.verdict);
    for (int i = 0; i < OPERATIONS; i++) free(results[i].op_s), free(results[i].copy_s);
    free(host);
    free(seen);
    device_close(w.dev);
    return st;
}
