#include "parallel/comm_dry.h"

#include <stdlib.h>

typedef struct {
    comm c;
    int parts[2], part_count, split; /* of the root: the sizes of the groups that will be split off */
} dry_comm;

static status done_at_once(comm_event *done) {
    if (done) *done = (comm_event){0};
    return STATUS_OK;
}

static status dry_all_gather(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire,
                             const comm_event *after, comm_event *done) {
    (void)c, (void)to, (void)from, (void)count, (void)t, (void)wire, (void)after;
    return done_at_once(done);
}

static status dry_reduce_scatter(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                                 const comm_event *after, comm_event *done) {
    (void)c, (void)to, (void)from, (void)count, (void)wire, (void)accumulate, (void)after;
    return done_at_once(done);
}

static status dry_all_reduce(comm *c, float *x, i64 count, dtype wire, const comm_event *after, comm_event *done) {
    (void)c, (void)x, (void)count, (void)wire, (void)after;
    return done_at_once(done);
}

static status dry_broadcast(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done) {
    (void)c, (void)x, (void)bytes, (void)root, (void)after;
    return done_at_once(done);
}

static status dry_mark(comm *c, comm_event *e) {
    (void)c;
    return done_at_once(e);
}

static status dry_wait(comm *c, const comm_event *e) {
    (void)c, (void)e;
    return STATUS_OK;
}

static status dry_exchange(comm *c, void *all, const void *mine, size_t bytes) {
    for (int r = 0; r < c->ranks; r++) memcpy((char *)all + (size_t)r * bytes, mine, bytes);
    return STATUS_OK;
}

static void dry_abort(comm *c, int exit_code) { (void)c, (void)exit_code; }
static void dry_close(comm *c) { free(c); }

static status dry_split(comm *c, comm **part, int color);

static const comm_ops dry_ops = {.all_gather = dry_all_gather,
                                 .reduce_scatter = dry_reduce_scatter,
                                 .all_reduce = dry_all_reduce,
                                 .broadcast = dry_broadcast,
                                 .mark = dry_mark,
                                 .wait = dry_wait,
                                 .allgather_host = dry_exchange,
                                 .split = dry_split,
                                 .abort = dry_abort,
                                 .close = dry_close};

static status open_of(dry_comm **d, int ranks) {
    if (!(*d = calloc(1, sizeof **d))) FAIL(MEM, "no memory for a communicator");
    (*d)->c = (comm){.ops = &dry_ops, .root = &(*d)->c, .name = "dry", .ranks = ranks};
    return STATUS_OK;
}

static status dry_split(comm *c, comm **part, int color) {
    dry_comm *root = (dry_comm *)c->root, *d;
    (void)color;
    if (root->split == root->part_count)
        FAIL(ARG, "dry communicator: split %d times, expected %d", root->split + 1, root->part_count);
    TRY(open_of(&d, root->parts[root->split++]));
    d->c.root = c->root;
    *part = &d->c;
    return STATUS_OK;
}

status comm_dry_open(comm **c, int ranks, int pieces) {
    dry_comm *d;
    TRY(open_of(&d, ranks));
    if (pieces > 1) d->parts[d->part_count++] = pieces;
    if (pieces < ranks) d->parts[d->part_count++] = ranks / pieces;
    *c = &d->c;
    return STATUS_OK;
}
