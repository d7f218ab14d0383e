#include "train/step.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "optim/adamw.h"
#include "optim/gradnorm.h"
#include "parallel/comm_dry.h"
#include "runtime/device_dry.h"
#include "runtime/gemm.h"
#include "runtime/range.h"
#include "train/checkpoint/weights.h"
#include "train/model/cost.h"

/* --- memory --- */

static void layout(void *context, arena *a, const parameters *p) {
    step_state *s = context;
    size_t ranks = (size_t)p->f.ranks;
    s->norm_scratch = arena_take(a, MEM_SCRATCH, gradnorm_scratch_bytes(p->p.size / p->f.pieces));
    s->sums.mine = arena_take(a, MEM_SCRATCH, sizeof *s->sums.mine);
    s->sums.all = arena_take(a, MEM_SCRATCH, ranks > 1 ? ranks * sizeof *s->sums.all : 0);
    s->verdict = arena_take(a, MEM_SCRATCH, sizeof *s->verdict);
}

static status open_model(step_state *s, model *m, device *dev, const model_config *c, model_shape shape,
                         parameters_options options) {
    *s = (step_state){.m = m};
    assert(options.training);
    TRY(model_init(m, dev, c, shape, options, &(model_extra){layout, s}));
    m->nats = &s->sums.mine->nats;
    return STATUS_OK;
}

/* The same step on a dry device. bytes: by category. reserve: a device that takes what the GEMMs need, or NULL. */
static status run_dry(size_t bytes[MEM_CATEGORIES], device *reserve, const device *like, const model_config *c,
                      model_shape shape, parameters_options options) {
    enum { MICRO_BATCHES = 2 }; /* the second one adds to the gradients of the first */
    status_code st = STATUS_OK;
    device *dev = NULL;
    comm *world = NULL;
    step_state s;
    model m = {0};
    int pieces, ranks = options.shard.world ? options.shard.world->ranks : options.shard.ranks;
    TRY_DONE(fsdp_pieces(&pieces, &options.shard));
    TRY_DONE(device_dry_open(&dev, like));
    TRY_DONE(comm_dry_open(&world, ranks, pieces));
    options.shard.world = world;
    TRY_DONE(open_model(&s, &m, dev, c, shape, options));
    memcpy(bytes, m.memory.bytes, sizeof m.memory.bytes);
    TRY_DONE(step_dry_run(&s, MICRO_BATCHES));
    bytes[MEM_GEMM] = gemm_memory_bytes(dev);
    if (dev->kind == DEVICE_CPU) bytes[MEM_CHECKPOINT] = weights_write_bytes(&m.parameters.p, c);
    if (reserve) TRY_DONE(gemm_reserve(reserve, dev));
done:
    model_free(&m);
    comm_close(world);
    device_close(dev);
    return st;
}

status step_init(step_state *s, model *m, device *dev, const model_config *c, model_shape shape,
                 parameters_options options) {
    size_t bytes[MEM_CATEGORIES];
    TRY(open_model(s, m, dev, c, shape, options));
    if (dev->dry) return STATUS_OK;
    status_code st = run_dry(bytes, dev, dev, c, shape, options);
    if (st) model_free(m);
    else m->memory.bytes[MEM_GEMM] = bytes[MEM_GEMM];
    return st;
}

status step_memory(size_t bytes[MEM_CATEGORIES], device *dev, const model_config *c, model_shape shape,
                   parameters_options options) {
    return run_dry(bytes, NULL, dev, c, shape, options);
}

/* --- the step's end (walk.h) --- */

typedef struct {
    step_state *s;
    const step_args *a;
} update;

/* Replicas hold the same pieces: the first one alone counts them. */
static status sum_squares(void *context) {
    const step_state *s = ((const update *)context)->s;
    device *dev = s->m->dev;
    const fsdp *f = &s->m->parameters.f;
    double *squares = &s->sums.mine->squares;
    uint64_t since = profile_begin(dev->profile);
    TRY(dev->ops->zero(dev, squares, sizeof *squares));
    if (f->replicas && f->replicas->rank > 0) return STATUS_OK;
    for (int u = 0; u < f->unit_count; u++) {
        fsdp_piece p = fsdp_piece_of(f, u);
        TRY(gradnorm_sum_squares(dev, squares, p.grads, p.count, s->norm_scratch));
    }
    profile_end(dev->profile, PROFILE_OPTIMIZER, since);
    return STATUS_OK;
}

static status adamw_on_owned(parameters *s, const step_args *a, const step_verdict *verdict) {
    dtype mt = s->o.moments;
    adamw_args args = {
        .lr = (float)a->lr, .beta1 = (float)a->beta1, .beta2 = (float)a->beta2, .eps = (float)a->eps, .seed = a->seed};
    for (int i = 0; i < s->p.count; i++) {
        const param *p = &s->p.list[i];
        owned_part part = parameters_owned(s, p);
        if (!part.count) continue;
        args.decay = p->decay ? (float)a->weight_decay : 0;
        args.first = (uint64_t)(p->serial + part.first);
        const adamw_piece piece = {.n = part.count,
                                   .t = s->o.t,
                                   .weights = part.weights,
                                   .master = s->master ? s->master + part.at : NULL,
                                   .moments = mt,
                                   .m = tensor_at(s->m, mt, part.at),
                                   .v = tensor_at(s->v, mt, part.at),
                                   .grads = part.grads};
        TRY(adamw_step(s->dev, &piece, args, verdict));
    }
    return STATUS_OK;
}

static status update_weights(void *context, const step_sums *all) {
    const update *u = context;
    const step_state *s = u->s;
    model *m = s->m;
    int ranks = m->parameters.o.shard.world->ranks;
    verdict_args c = {.tokens = (double)(m->s.B * m->s.T * u->a->micro_batches * ranks),
                      .clip = u->a->clip,
                      .beta1 = u->a->beta1,
                      .beta2 = u->a->beta2};
    TRY(verdict_decide(m->dev, s->verdict, all, ranks, c));
    uint64_t since = profile_begin(m->dev->profile);
    TRY(adamw_on_owned(&m->parameters, u->a, s->verdict));
    profile_end(m->dev->profile, PROFILE_OPTIMIZER, since);
    return STATUS_OK;
}

status step_dry_run(step_state *s, i64 micro_batches) {
    step_args a = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .micro_batches = micro_batches};
    parameters_weights_changed(&s->m->parameters);
    for (i64 i = 0; i < micro_batches; i++) TRY(model_dry_run(s->m, i == 0, i + 1 == micro_batches));
    TRY(step_update_weights(s, &a));
    s->collected = s->queued;
    return STATUS_OK;
}

status step_update_weights(step_state *s, const step_args *a) {
    static const walk_end_ops ops = {.sum_squares = sum_squares, .update = update_weights};
    update u = {s, a};
    device *dev = s->m->dev;
    assert(step_under_way(s) < DEVICE_SLOTS);
    TRY(walk_end_step(&s->m->parameters, &s->sums, &ops, &u));
    s->queued++;
    return dev->ops->post(dev, s->verdict, sizeof *s->verdict);
}

status step_collect(step_state *s, step_result *r) {
    device *dev = s->m->dev;
    step_verdict v;
    if (!step_under_way(s)) FAIL(ARG, "step_collect: no step is queued");
    uint64_t ns;
    s->collected++;
    TRY(dev->ops->collect(dev, &v, sizeof v, &ns));
    s->m->parameters.step = v.updates;
    *r = (step_result){.loss = v.loss, .grad_norm = v.grad_norm, .skipped = v.skipped, .seconds = (double)ns * 1e-9};
    return STATUS_OK;
}

uint64_t step_under_way(const step_state *s) { return s->queued - s->collected; }

status step_begin(step_state *s) { return step_under_way(s) ? STATUS_OK : s->m->dev->ops->begin(s->m->dev); }

status step_set_updates(step_state *s, uint64_t updates) {
    device *dev = s->m->dev;
    s->m->parameters.step = updates;
    return dev->ops->copy(dev, &s->verdict->updates, &updates, sizeof updates);
}

static void add_flops(step_state *s, token_batch b, bool first) {
    flop_counter f = cost_batch_flops(&s->m->c, s->m->s.recompute, b);
    for (int w = 0; w < WORK_KINDS; w++) s->flops.work[w] = f.work[w] + (first ? 0 : s->flops.work[w]);
}

status step_submit(step_state *s, loader *l, const step_args *a) {
    model *m = s->m;
    device *dev = m->dev;
    TRY(step_begin(s));
    double tokens = (double)(m->s.B * m->s.T * a->micro_batches * m->parameters.o.shard.world->ranks);
    for (i64 i = 0; i < a->micro_batches; i++) {
        token_batch b;
        TRY(dev->ops->span(dev, BOOK_DATA, true));
        range_begin(meter_booking_label(BOOK_DATA), RANGE_PLAIN);
        TRY(loader_next(l, &b));
        range_end();
        TRY(dev->ops->span(dev, BOOK_DATA, false));
        add_flops(s, b, i == 0);
        TRY(model_forward_backward(m, NULL, b, (float)(1 / tokens), i == 0, i + 1 == a->micro_batches));
    }
    return step_update_weights(s, a);
}

typedef struct {
    double nats, counted;
} batch_sum;

/* Past the last batch: one without targets, because the gathers of the forward pass need every rank. */
static status evaluate_batch(model *m, source *s, i64 batch, i64 end, int32_t *tokens, batch_sum *sum) {
    i64 n = m->s.B * m->s.T;
    token_batch b = {.tokens = tokens, .targets = tokens + n, .B = m->s.B, .T = m->s.T};
    int32_t *targets = tokens + n, *starts = m->s.documents ? targets + n : NULL;
    if (batch < end) {
        TRY(source_held_out(s, batch, (source_batch){b.B, b.T, tokens, targets, starts}));
        b.starts = starts;
    } else {
        for (i64 i = 0; i < n; i++) tokens[i] = 0, targets[i] = -1;
    }
    TRY(model_loss(m, &sum->nats, b));
    sum->counted = 0;
    for (i64 i = 0; i < n; i++) sum->counted += targets[i] >= 0;
    return STATUS_OK;
}

status step_evaluate(model *m, source *s, i64 batches, double *loss) {
    comm *world = m->parameters.o.shard.world;
    int ranks = world->ranks;
    i64 n = m->s.B * m->s.T, end = source_held_out_batches(s, m->s.B, m->s.T);
    batch_sum total = {0}, mine;
    status_code st = STATUS_OK;
    int32_t *tokens = malloc((size_t)n * 3 * sizeof *tokens);
    batch_sum *all = malloc((size_t)ranks * sizeof *all);
    if (!tokens || !all) FAIL_DONE(MEM, "no memory for a held-out batch of %ld tokens", n);
    if (batches && batches < end) end = batches;
    for (i64 i = 0; i < end; i += ranks) {
        TRY_DONE(evaluate_batch(m, s, i + world->rank, end, tokens, &mine));
        TRY_DONE(comm_allgather_host(world, all, &mine, sizeof mine));
        for (int r = 0; r < ranks; r++) { /* in the order of batches: the same sum on any number of ranks */
            total.nats += all[r].nats;
            total.counted += all[r].counted;
        }
    }
    *loss = total.counted > 0 ? total.nats / total.counted : NAN;
done:
    free(tokens);
    free(all);
    return st;
}
