#include "parallel/fsdp.h"

#include <assert.h>
#include <stdlib.h>

#include "runtime/gemm.h"

enum { SLOT_EDGE = 2, SLOT_HEAD = 3 }; /* after the two that blocks use in turns */

static bool is_block(const fsdp *f, int u) { return u > 0 && u < f->unit_count - 1; }

static int slot_index(const fsdp *f, int u) {
    if (is_block(f, u)) return u % 2;
    return u > 0 && f->tied ? SLOT_HEAD : SLOT_EDGE;
}

static i64 piece_count(const fsdp *f, int u) { return f->units[u].size / f->pieces; }

static int ranks_of(const shard_options *o) { return o->world ? o->world->ranks : o->ranks; }

const char *fsdp_stage_name(shard_stage stage) {
    switch (stage) { SHARD_STAGE_LIST(CHOICES_RETURN_NAME) }
    return "?";
}

status fsdp_pieces(int *pieces, const shard_options *o) {
    int ranks = ranks_of(o), replicas = o->replicas ? o->replicas : 1;
    assert(ranks > 0);
    if (o->stage == SHARD_NONE && replicas > 1)
        FAIL(ARG, "--replicas %d: with --shard none every rank holds the whole model; expected 1", replicas);
    if (replicas < 1 || ranks % replicas)
        FAIL(ARG, "--replicas %d: expected a divisor of the number of ranks, %d", replicas, ranks);
    if (o->stage == SHARD_NONE) replicas = ranks;
    *pieces = ranks / replicas;
    return STATUS_OK;
}

/* Consecutive ranks, which launchers place on one node, share a model. Ranks with the same piece are replicas. */
static status open_groups(fsdp *f) {
    comm *world = f->o.world;
    if (!world) return STATUS_OK; /* a plan */
    if (f->pieces > 1) TRY(comm_split(world, &f->shards, world->rank / f->pieces));
    if (f->pieces < world->ranks) TRY(comm_split(world, &f->replicas, world->rank % f->pieces));
    f->piece = world->rank % f->pieces;
    return STATUS_OK;
}

status fsdp_init(fsdp *f, device *dev, const unit *units, int unit_count, bool tied, bool training, dtype t,
                 shard_options o) {
    *f = (fsdp){.dev = dev,
                .o = o,
                .ranks = ranks_of(&o),
                .units = units,
                .unit_count = unit_count,
                .t = t,
                .wire = o.gather_bf16 ? BF16 : t,
                .tied = tied,
                .training = training,
                .pending = -1};
    for (int i = 0; i < FSDP_SLOTS; i++) f->slots[i].unit = f->slots[i].grad_unit = -1;
    TRY(fsdp_pieces(&f->pieces, &o));
    f->weight_slots = f->pieces > 1 && o.stage == SHARD_FULL;
    f->grad_slots = f->pieces > 1 && o.stage >= SHARD_GRADIENTS && !o.accumulate_locally;
    for (int u = 0; u < unit_count; u++) f->size += units[u].size;
    size_t n = (size_t)unit_count;
    f->gathered = calloc(n, sizeof *f->gathered);
    f->reduced = calloc(n, sizeof *f->reduced);
    status_code st = STATUS_OK;
    if (!f->gathered || !f->reduced) FAIL_DONE(MEM, "no memory for the events of %d units", unit_count);
    st = open_groups(f);
done:
    if (st) fsdp_free(f);
    return st;
}

void fsdp_free(fsdp *f) {
    comm_close(f->shards);
    comm_close(f->replicas);
    free(f->gathered);
    free(f->reduced);
    *f = (fsdp){0};
}

/* --- memory --- */

static void layout_slots(fsdp *f, arena *a) {
    i64 largest[FSDP_SLOTS] = {0};
    for (int u = 0; u < f->unit_count; u++) {
        int i = slot_index(f, u);
        if (f->units[u].size > largest[i]) largest[i] = f->units[u].size;
    }
    for (int i = 0; i < FSDP_SLOTS; i++) {
        fsdp_slot *s = &f->slots[i];
        s->weights = arena_take(a, MEM_SLOTS, f->weight_slots ? (size_t)largest[i] * dtype_bytes(f->t) : 0);
        s->grads = arena_take(a, MEM_SLOTS, f->grad_slots && f->training ? (size_t)largest[i] * 4 : 0);
    }
}

void fsdp_layout(fsdp *f, arena *a) {
    size_t all = (size_t)f->size, mine = all / (size_t)f->pieces, element = dtype_bytes(f->t);
    bool own_copy = f->weight_slots || (f->pieces > 1 && f->wire != f->t);
    f->weights = arena_take(a, MEM_WEIGHTS, f->weight_slots ? 0 : all * element);
    f->shard = arena_take(a, MEM_WEIGHTS, own_copy ? mine * element : 0);
    f->grads = arena_take(a, MEM_GRADIENTS, f->grad_slots || !f->training ? 0 : all * 4);
    f->grad_shard = arena_take(a, MEM_GRADIENTS, f->grad_slots && f->training ? mine * 4 : 0);
    layout_slots(f, a);
}

fsdp_piece fsdp_piece_of(const fsdp *f, int u) {
    fsdp_piece p = {.count = piece_count(f, u), .at = f->units[u].offset / f->pieces};
    p.first = f->piece * p.count;
    i64 whole = f->units[u].offset + p.first;
    p.weights = f->shard ? tensor_at(f->shard, f->t, p.at) : tensor_at(f->weights, f->t, whole);
    if (f->training) p.grads = f->grad_slots ? f->grad_shard + p.at : f->grads + whole;
    return p;
}

/* --- weights --- */

static status gather(fsdp *f, int u, dtype wire) {
    const void *from = fsdp_piece_of(f, u).weights;
    if (!f->weight_slots) {
        void *to = tensor_at(f->weights, f->t, f->units[u].offset);
        return comm_all_gather(f->shards, to, from, piece_count(f, u), f->t, wire, &f->written, &f->gathered[u]);
    }
    fsdp_slot *s = &f->slots[slot_index(f, u)];
    assert(!s->entered);
    s->unit = u;
    s->fresh = true;
    return comm_all_gather(f->shards, s->weights, from, piece_count(f, u), f->t, wire, &s->released, &s->filled);
}

/* if it is not in its slot already */
static status prefetch(fsdp *f, int u) {
    if (!f->weight_slots || u < 0 || u >= f->unit_count || f->slots[slot_index(f, u)].unit == u) return STATUS_OK;
    return gather(f, u, f->wire);
}

static status wait_for_weights(fsdp *f, int u, const void **w) {
    if (!f->weight_slots) {
        assert(!f->stale);
        *w = tensor_at(f->weights, f->t, f->units[u].offset);
        return comm_wait(f->o.world, &f->gathered[u]);
    }
    fsdp_slot *s = &f->slots[slot_index(f, u)];
    *w = s->weights;
    TRY(comm_wait(f->shards, &s->filled));
    if (s->fresh) gemm_weights_changed(f->dev); /* packed weights of this slot belong to another unit */
    s->fresh = false;
    return STATUS_OK;
}

/* --- gradients --- */

static status reduce_pending(fsdp *f) {
    int u = f->pending;
    f->pending = -1;
    if (u < 0 || (!f->grad_slots && !f->pending_last)) return STATUS_OK;
    dtype wire = f->o.reduce_bf16 ? BF16 : F32;
    fsdp_piece mine = fsdp_piece_of(f, u);
    TRY(comm_mark(f->o.world, &f->written));
    if (f->grad_slots) {
        fsdp_slot *s = &f->slots[slot_index(f, u)];
        TRY(comm_reduce_scatter(f->shards, mine.grads, s->grads, mine.count, wire, !f->pending_first, &f->written,
                                &s->reduced));
        f->reduced[u] = s->reduced;
    } else if (f->shards) {
        TRY(comm_reduce_scatter(f->shards, mine.grads, f->grads + f->units[u].offset, mine.count, wire, false,
                                &f->written, &f->reduced[u]));
    }
    if (!f->replicas || !f->pending_last) return STATUS_OK;
    return comm_all_reduce(f->replicas, mine.grads, mine.count, wire, &f->written, &f->reduced[u]);
}

status fsdp_gradients(fsdp *f, int u, float **dw, bool *accumulate) {
    *accumulate = !f->grad_slots && !f->first;
    if (!f->grad_slots) {
        *dw = f->grads + f->units[u].offset;
        return STATUS_OK;
    }
    fsdp_slot *s = &f->slots[slot_index(f, u)];
    TRY(comm_wait(f->shards, &s->reduced));
    size_t bytes = (size_t)f->units[u].size * 4;
    /* all blocks have the same padding; the embedding and the head differ */
    if (!is_block(f, u) && s->grad_unit != u) TRY(f->dev->ops->zero(f->dev, s->grads, bytes));
    s->grad_unit = u;
    *dw = s->grads;
    return STATUS_OK;
}

status fsdp_reduce(fsdp *f, int u) {
    if (f->pieces == 1 && !f->replicas) return STATUS_OK;
    TRY(reduce_pending(f));
    f->pending = u;
    f->pending_first = f->first;
    f->pending_last = f->last;
    return STATUS_OK;
}

status fsdp_finish_gradients(fsdp *f) {
    TRY(reduce_pending(f));
    for (int u = 0; u < f->unit_count; u++) TRY(comm_wait(f->o.world, &f->reduced[u]));
    return STATUS_OK;
}

/* --- from unit to unit --- */

/* Gathers of new weights must wait until the computation has written them, which is later than the release of a slot. Without
 * slots the weights are gathered here and not when they change: collectives at the end of the step would be queued after the
 * gathers, and the computation would wait for all of them. */
static status gather_stale(fsdp *f, dtype wire) {
    if (!f->stale) return STATUS_OK;
    f->stale = false;
    TRY(comm_mark(f->shards, &f->written));
    for (int i = 0; i < FSDP_SLOTS; i++) f->slots[i].released = f->written;
    for (int u = 0; !f->weight_slots && u < f->unit_count; u++) TRY(gather(f, u, wire));
    return STATUS_OK;
}

status fsdp_begin(fsdp *f, bool first, bool last) {
    f->first = first;
    f->last = last;
    TRY(gather_stale(f, f->wire));
    TRY(prefetch(f, 0));
    for (int u = 1; u <= 2 && is_block(f, u); u++) TRY(prefetch(f, u)); /* the embedding takes little time */
    return STATUS_OK;
}

status fsdp_enter(fsdp *f, int u, pass p, const void **w) {
    TRY(prefetch(f, u)); /* only if it was not prefetched */
    TRY(wait_for_weights(f, u, w));
    f->slots[slot_index(f, u)].entered = true;
    if (p == PASS_FORWARD) TRY(prefetch(f, u + 1));
    if (p == PASS_BACKWARD && u > 1) TRY(prefetch(f, u - 1)); /* backward does not read the embedding */
    return reduce_pending(f);
}

status fsdp_leave(fsdp *f, int u) {
    fsdp_slot *s = &f->slots[slot_index(f, u)];
    s->entered = false;
    return f->weight_slots ? comm_mark(f->shards, &s->released) : STATUS_OK;
}

/* --- new weights --- */

void fsdp_weights_changed(fsdp *f) {
    gemm_weights_changed(f->dev);
    for (int i = 0; i < FSDP_SLOTS; i++) f->slots[i].unit = -1;
    f->stale = f->pieces > 1;
}

status fsdp_whole(fsdp *f, int u, const void **w) {
    if (f->wire != f->t && !f->exact) fsdp_weights_changed(f);
    f->exact = true;
    TRY(gather_stale(f, f->t));
    fsdp_slot *s = &f->slots[slot_index(f, u)];
    if (f->weight_slots && s->unit != u) {
        TRY(comm_mark(f->shards, &s->released)); /* the caller has finished with the last whole unit */
        TRY(gather(f, u, f->t));
    }
    return wait_for_weights(f, u, w);
}

void fsdp_whole_end(fsdp *f) {
    if (f->wire != f->t && f->exact) fsdp_weights_changed(f);
    f->exact = false;
}
