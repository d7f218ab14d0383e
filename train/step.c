#include "train/step.h"

#include <math.h>
#include <stdlib.h>

#include "optim/adamw.h"
#include "optim/gradnorm.h"
#include "runtime/gemm.h"

status update_weights(model *m, const step_args *a, step_result *r) {
    state *s = &m->state;
    double squares = 0;
    TRY(gradnorm_sum_squares(m->dev, &squares, s->grads, s->p.size, m->norm_scratch));
    r->grad_norm = sqrt(squares);
    r->skipped = !isfinite(r->loss) || !isfinite(r->grad_norm);
    if (r->skipped) return STATUS_OK;
    bool clipped = a->clip > 0 && r->grad_norm > a->clip;
    s->step++;
    adamw_args args = {.lr = (float)a->lr,
                       .beta1 = (float)a->beta1,
                       .beta2 = (float)a->beta2,
                       .eps = (float)a->eps,
                       .grad_scale = clipped ? (float)(a->clip / r->grad_norm) : 1,
                       .step = s->step,
                       .seed = a->seed};
    dtype t = s->o.t, mt = s->o.moments;
    for (int i = 0; i < s->p.count; i++) {
        const param *p = &s->p.list[i];
        args.decay = p->decay ? (float)a->weight_decay : 0;
        args.first = (uint64_t)p->offset;
        TRY(adamw_step(m->dev, t, at(s->weights, t, p->offset), s->master ? s->master + p->offset : NULL, mt,
                       at(s->m, mt, p->offset), at(s->v, mt, p->offset), s->grads + p->offset, p->rows * p->cols,
                       args));
    }
    gemm_weights_changed(m->dev);
    return STATUS_OK;
}

status train_step(model *m, loader *l, const step_args *a, step_result *r) {
    double tokens = (double)(m->s.B * m->s.T * a->micro_batches), nats = 0;
    *r = (step_result){0};
    for (i64 i = 0; i < a->micro_batches; i++) {
        const int32_t *inputs, *targets;
        double loss;
        meter *clock = m->dev->clock;
        if (clock) meter_book(clock, BOOK_DATA);
        TRY(loader_next(l, &inputs, &targets));
        if (clock) meter_book(clock, BOOK_USEFUL);
        TRY(model_forward_backward(m, &loss, inputs, targets, (float)(1 / tokens), i > 0));
        nats += loss;
    }
    r->loss = nats / tokens;
    return update_weights(m, a, r);
}

status evaluate(model *m, const corpus *c, i64 batches, double *loss) {
    i64 n = m->s.B * m->s.T, counted = 0;
    double nats = 0;
    int32_t *tokens = malloc((size_t)n * 8);
    if (!tokens) FAIL(MEM, "held-out batch of %ld tokens", n);
    int32_t *targets = tokens + n;
    status_code st = STATUS_OK;
    for (i64 i = 0; (!batches || i < batches) && corpus_val_batch(c, i, m->s.B, m->s.T, tokens, targets); i++) {
        double batch;
        TRY_DONE(model_loss(m, &batch, tokens, targets));
        nats += batch;
        for (i64 j = 0; j < n; j++) counted += targets[j] >= 0;
    }
    *loss = counted ? nats / (double)counted : NAN;
done:
    free(tokens);
    return st;
}
