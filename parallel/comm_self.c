#include <stdlib.h>

#include "parallel/comm.h"
#include "parallel/comm_math.h"

/* With one rank a sum is its only term, rounded to wire as with several. */
static void term(float *to, const float *from, i64 count, dtype wire, bool accumulate) {
    comm_math_sum(to, (const void *[]){from}, 1, 0, wire, count, accumulate);
}

static void happened(comm_event *done) {
    if (done) *done = (comm_event){0};
}

static status self_all_gather(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire,
                              const comm_event *after, comm_event *done) {
    (void)c, (void)after;
    if (t != wire) term(to, from, count, wire, false);
    else if (to != from && count) memcpy(to, from, (size_t)count * dtype_bytes(t));
    happened(done);
    return STATUS_OK;
}

static status self_reduce_scatter(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                                  const comm_event *after, comm_event *done) {
    (void)c, (void)after;
    term(to, from, count, wire, accumulate);
    happened(done);
    return STATUS_OK;
}

static status self_all_reduce(comm *c, float *x, i64 count, dtype wire, const comm_event *after, comm_event *done) {
    return self_reduce_scatter(c, x, x, count, wire, false, after, done);
}

static status self_broadcast(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done) {
    (void)c, (void)x, (void)bytes, (void)root, (void)after;
    happened(done);
    return STATUS_OK;
}

static status self_mark(comm *c, comm_event *e) {
    (void)c;
    happened(e);
    return STATUS_OK;
}

static status self_wait(comm *c, const comm_event *e) {
    (void)c, (void)e;
    return STATUS_OK;
}

static status self_exchange(comm *c, void *all, const void *mine, size_t bytes) {
    (void)c;
    memmove(all, mine, bytes);
    return STATUS_OK;
}

static status open_alone(comm **c);

static status self_split(comm *c, comm **part, int color) {
    (void)color;
    TRY(open_alone(part));
    (*part)->root = c->root;
    (*part)->placement = c->placement;
    return STATUS_OK;
}

static void self_abort(comm *c, int exit_code) { (void)c, (void)exit_code; }
static void self_close(comm *c) {
    if (c->root == c) placement_close(c->placement);
    free(c);
}

static const comm_ops self_ops = {.all_gather = self_all_gather,
                                  .reduce_scatter = self_reduce_scatter,
                                  .all_reduce = self_all_reduce,
                                  .broadcast = self_broadcast,
                                  .mark = self_mark,
                                  .wait = self_wait,
                                  .allgather_host = self_exchange,
                                  .split = self_split,
                                  .abort = self_abort,
                                  .close = self_close};

static status open_alone(comm **c) {
    if (!(*c = calloc(1, sizeof **c))) FAIL(MEM, "no memory for a communicator");
    **c = (comm){.ops = &self_ops, .root = *c, .name = "self", .ranks = 1};
    return STATUS_OK;
}

status comm_open_self(comm **opened) {
    comm *c;
    *opened = NULL;
    TRY(open_alone(&c));
    status_code st = placement_open(&c->placement, 1);
    if (!st) {
        c->placement->all[0] = placement_self();
        st = placement_complete(c->placement, 0);
    }
    if (st) {
        self_close(c);
        return status_trace(st, __FILE__, __LINE__);
    }
    *opened = c;
    return STATUS_OK;
}
