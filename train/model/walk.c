#include "train/model/walk.h"

#include "runtime/range.h"

static int head_unit(const walk *w) { return w->s->p.unit_count - 1; }
static bool tied(const walk *w) { return w->s->f.tied; }

static status before_unit(const walk *w) { return w->ops->before_unit ? w->ops->before_unit(w->context) : STATUS_OK; }

/* --- forward --- */

static status forward_unit(const walk *w, int u, walk_callback *compute) {
    walk_unit here = {.layer = u - 1};
    TRY(before_unit(w));
    range_begin(u ? "forward block" : "forward embedding", u ? here.layer : RANGE_PLAIN);
    TRY(parameters_enter(w->s, &here.v, u, PASS_FORWARD));
    TRY(compute(w->context, &here));
    TRY(parameters_leave(w->s, u));
    range_end();
    return STATUS_OK;
}

static status forward(const walk *w, bool first, bool last) {
    TRY(fsdp_begin(&w->s->f, first, last));
    if (w->ops->begin) TRY(w->ops->begin(w->context));
    TRY(forward_unit(w, 0, w->ops->embed_forward));
    for (int u = 1; u < head_unit(w); u++) TRY(forward_unit(w, u, w->ops->block_forward));
    return STATUS_OK;
}

/* --- the head --- */

/* where tied, the head's matrix is the embedding's */
static status enter_head(const walk *w, walk_unit *head, pass p) {
    unit_views embedding;
    range_begin("head", RANGE_PLAIN);
    TRY(parameters_enter(w->s, &head->v, head_unit(w), p));
    if (tied(w)) {
        TRY(parameters_enter(w->s, &embedding, 0, PASS_STAY));
        head->v.w[P_HEAD_W] = embedding.w[P_WTE];
    }
    return w->ops->head_forward ? w->ops->head_forward(w->context, head) : STATUS_OK;
}

static status leave_head(const walk *w) {
    TRY(parameters_leave(w->s, head_unit(w)));
    if (tied(w)) TRY(parameters_leave(w->s, 0));
    range_end();
    return STATUS_OK;
}

/* embedding: where tied, set to the gradients of the embedding, which the head writes first */
static status train_head(const walk *w, walk_unit *embedding) {
    walk_unit head = {0};
    TRY(enter_head(w, &head, PASS_BACKWARD));
    TRY(parameters_gradients(w->s, &head.v, head_unit(w), &head.accumulate));
    head.accumulate_matrix = head.accumulate;
    if (tied(w)) {
        TRY(parameters_gradients(w->s, &embedding->v, 0, &embedding->accumulate));
        head.v.dw[P_HEAD_W] = embedding->v.dw[P_WTE];
        head.accumulate_matrix = embedding->accumulate;
    }
    TRY(w->ops->head_loss(w->context, &head));
    TRY(leave_head(w));
    return fsdp_reduce(&w->s->f, head_unit(w));
}

status walk_evaluate(const walk *w) {
    walk_unit head = {0};
    TRY(forward(w, false, false));
    TRY(enter_head(w, &head, PASS_STAY));
    TRY(w->ops->head_loss(w->context, &head));
    return leave_head(w);
}

/* --- backward --- */

static status backward_block(const walk *w, int u) {
    walk_unit here = {.layer = u - 1};
    TRY(before_unit(w));
    range_begin("backward block", here.layer);
    TRY(parameters_enter(w->s, &here.v, u, PASS_BACKWARD));
    TRY(parameters_gradients(w->s, &here.v, u, &here.accumulate));
    TRY(w->ops->block_backward(w->context, &here));
    TRY(parameters_leave(w->s, u));
    range_end();
    return fsdp_reduce(&w->s->f, u);
}

status walk_train(const walk *w, bool first, bool last) {
    walk_unit embedding = {0};
    TRY(forward(w, first, last));
    TRY(train_head(w, &embedding));
    for (int u = head_unit(w) - 1; u > 0; u--) TRY(backward_block(w, u));
    if (!tied(w)) TRY(parameters_gradients(w->s, &embedding.v, 0, &embedding.accumulate));
    embedding.accumulate_matrix = embedding.accumulate || tied(w);
    range_begin("backward embedding", RANGE_PLAIN);
    TRY(w->ops->embed_backward(w->context, &embedding));
    range_end();
    return fsdp_reduce(&w->s->f, 0);
}

/* --- the step's end --- */

/* A sum is an f64, gathered as two f32 words. */
static status gather_sums(comm *world, walk_sums *sums) {
    TRY(comm_mark(world, &sums->summed));
    TRY(comm_all_gather(world, sums->all, sums->mine, sizeof *sums->mine / 4, F32, F32, &sums->summed,
                        &sums->gathered));
    return comm_wait(world, &sums->gathered);
}

status walk_end_step(parameters *s, walk_sums *sums, const walk_end_ops *ops, void *context) {
    comm *world = s->o.shard.world;
    bool alone = world->ranks == 1;
    range_begin("optimizer", RANGE_PLAIN);
    TRY(fsdp_finish_gradients(&s->f));
    if (ops->sum_squares) TRY(ops->sum_squares(context));
    if (!alone) TRY(gather_sums(world, sums));
    TRY(ops->update(context, alone ? sums->mine : sums->all));
    parameters_weights_changed(s);
    range_end();
    return STATUS_OK;
}
