#include "train/step.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "optim/adamw.h"
#include "optim/gradnorm.h"
#include "runtime/range.h"

/* --- the step's end (walk.h) --- */

typedef struct {
    model *m;
    const step_args *a;
} update;

/* Each piece counts once: where it has replicas, on the first of them. */
static status sum_squares(void *context) {
    model *m = ((const update *)context)->m;
    parameters *s = &m->parameters;
    double *squares = &m->steps.sums.mine->squares;
    TRY(m->dev->ops->zero(m->dev, squares, sizeof *squares));
    if (s->f.replicas && s->f.replicas->rank > 0) return STATUS_OK;
    for (int u = 0; u < s->p.unit_count; u++) {
        fsdp_piece p = fsdp_piece_of(&s->f, u);
        TRY(gradnorm_sum_squares(m->dev, squares, p.grads, p.count, m->steps.norm_scratch));
    }
    return STATUS_OK;
}

static status adamw_on_owned(model *m, const step_args *a) {
    parameters *s = &m->parameters;
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
        TRY(adamw_step(m->dev, &piece, args, m->steps.verdict));
    }
    return STATUS_OK;
}

static status update_weights(void *context, const step_sums *all) {
    const update *u = context;
    model *m = u->m;
    int ranks = m->parameters.o.shard.world->ranks;
    verdict_args c = {.tokens = (double)(m->s.B * m->s.T * u->a->micro_batches * ranks),
                      .clip = u->a->clip,
                      .beta1 = u->a->beta1,
                      .beta2 = u->a->beta2};
    TRY(verdict_decide(m->dev, m->steps.verdict, all, ranks, c));
    return adamw_on_owned(m, u->a);
}

status step_update_weights(model *m, const step_args *a) {
    static const walk_end_ops ops = {.sum_squares = sum_squares, .update = update_weights};
    update u = {m, a};
    assert(m->steps.queued - m->steps.collected < DEVICE_SLOTS);
    TRY(walk_end_step(&m->parameters, &m->steps.sums, &ops, &u));
    m->steps.queued++;
    return m->dev->ops->post(m->dev, m->steps.verdict, sizeof *m->steps.verdict);
}

status step_collect(model *m, step_result *r) {
    step_verdict v;
    if (m->steps.collected == m->steps.queued) FAIL(ARG, "no step is under way");
    uint64_t ns;
    m->steps.collected++;
    TRY(m->dev->ops->collect(m->dev, &v, sizeof v, &ns));
    m->parameters.step = v.updates;
    *r = (step_result){.loss = v.loss, .grad_norm = v.grad_norm, .skipped = v.skipped, .seconds = (double)ns * 1e-9};
    return STATUS_OK;
}

status step_begin(model *m) { return m->steps.queued == m->steps.collected ? m->dev->ops->begin(m->dev) : STATUS_OK; }

status step_set_updates(model *m, uint64_t updates) {
    m->parameters.step = updates;
    return m->dev->ops->copy(m->dev, &m->steps.verdict->updates, &updates, sizeof updates);
}

status step_submit(model *m, loader *l, const step_args *a) {
    device *dev = m->dev;
    TRY(step_begin(m));
    double tokens = (double)(m->s.B * m->s.T * a->micro_batches * m->parameters.o.shard.world->ranks);
    for (i64 i = 0; i < a->micro_batches; i++) {
        token_batch b;
        TRY(dev->ops->span(dev, BOOK_DATA, true));
        range_begin(meter_booking_label(BOOK_DATA), RANGE_PLAIN);
        TRY(loader_next(l, &b));
        range_end();
        TRY(dev->ops->span(dev, BOOK_DATA, false));
        TRY(model_forward_backward(m, NULL, b, (float)(1 / tokens), i == 0, i + 1 == a->micro_batches));
    }
    return step_update_weights(m, a);
}

typedef struct {
    double nats, counted;
} batch_sum;

/* Batch `first` + rank of the held-out ones; past the end one without targets, for the sake of the others' gathers. */
static status evaluate_batch(model *m, const corpus *c, i64 batch, i64 end, int32_t *tokens, batch_sum *sum) {
    i64 n = m->s.B * m->s.T;
    int32_t *targets = tokens + n;
    if ((end && batch >= end) || !corpus_val_batch(c, batch, m->s.B, m->s.T, tokens, targets))
        for (i64 i = 0; i < n; i++) tokens[i] = 0, targets[i] = -1;
    TRY(model_loss(m, &sum->nats, (token_batch){tokens, targets, m->s.B, m->s.T}));
    sum->counted = 0;
    for (i64 i = 0; i < n; i++) sum->counted += targets[i] >= 0;
    return STATUS_OK;
}

status step_evaluate(model *m, const corpus *c, i64 batches, double *loss) {
    comm *world = m->parameters.o.shard.world;
    int ranks = world->ranks;
    i64 n = m->s.B * m->s.T;
    batch_sum total = {0}, mine;
    status_code st = STATUS_OK;
    int32_t *tokens = malloc((size_t)n * 8);
    batch_sum *all = malloc((size_t)ranks * sizeof *all);
    if (!tokens || !all) FAIL_DONE(MEM, "held-out batch of %ld tokens", n);
    for (i64 i = 0; (!batches || i < batches) && corpus_val_batch(c, i, m->s.B, m->s.T, tokens, tokens + n);
         i += ranks) {
        TRY_DONE(evaluate_batch(m, c, i + world->rank, batches, tokens, &mine));
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
