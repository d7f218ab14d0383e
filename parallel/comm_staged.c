/* Every collective runs synchronously: it waits for the queued computation, copies pieces from the device to host memory, calls
 * the communicator for host memory, and copies the pieces back. Nothing overlaps: this is for tests. */
#include "parallel/comm_staged.h"

#include <stdlib.h>

typedef struct {
    comm base;
    device *dev;
    char *out, *in;       /* copies from and to the device */
    size_t staging_bytes; /* of each; every rank has a part */
} staged_comm;

static staged_comm *of(comm *c) { return (staged_comm *)c; }

static status copy(staged_comm *s, void *to, const void *from, size_t bytes) {
    return bytes ? s->dev->ops->copy(s->dev, to, from, bytes) : STATUS_OK;
}

/* The result of the collective on the host. The computation has waited as long as the host's communicator. */
static status ended(staged_comm *s, status_code st, const comm_event *done) {
    uint64_t before = comm_read_totals(s->base.host).waited_ns;
    if (!st) st = comm_wait(s->base.host, done);
    s->base.root->totals.waited_ns += comm_read_totals(s->base.host).waited_ns - before;
    if (st == STATUS_COMM) s->base.root->broken = true;
    return st;
}

/* elements of a rank's piece that fit into the buffer */
static i64 chunk_of(const staged_comm *s, size_t element) {
    return (i64)(s->staging_bytes / (size_t)s->base.ranks / element);
}

static i64 least(i64 a, i64 b) { return a < b ? a : b; }

static void happened(comm_event *done) {
    if (done) *done = (comm_event){0};
}

static status staged_all_gather(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire,
                                const comm_event *after, comm_event *done) {
    staged_comm *s = of(c);
    i64 chunk = chunk_of(s, dtype_bytes(t));
    (void)after;
    for (i64 first = 0; first < count; first += chunk) {
        i64 n = least(chunk, count - first);
        comm_event arrived = {0};
        TRY(copy(s, s->out, tensor_at(from, t, first), (size_t)n * dtype_bytes(t)));
        TRY(ended(s, comm_all_gather(c->host, s->in, s->out, n, t, wire, NULL, &arrived), &arrived));
        for (int r = 0; r < c->ranks; r++)
            TRY(copy(s, tensor_at(to, t, r * count + first), tensor_at(s->in, t, r * n), (size_t)n * dtype_bytes(t)));
    }
    happened(done);
    return STATUS_OK;
}

static status staged_reduce_scatter(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                                    const comm_event *after, comm_event *done) {
    staged_comm *s = of(c);
    i64 chunk = chunk_of(s, 4);
    (void)after;
    for (i64 first = 0; first < count; first += chunk) {
        i64 n = least(chunk, count - first);
        comm_event arrived = {0};
        float *terms = (float *)(void *)s->out, *sum = (float *)(void *)s->in;
        for (int r = 0; r < c->ranks; r++) TRY(copy(s, terms + r * n, from + r * count + first, (size_t)n * 4));
        if (accumulate) TRY(copy(s, sum, to + first, (size_t)n * 4));
        TRY(ended(s, comm_reduce_scatter(c->host, sum, terms, n, wire, accumulate, NULL, &arrived), &arrived));
        TRY(copy(s, to + first, sum, (size_t)n * 4));
    }
    happened(done);
    return STATUS_OK;
}

static status staged_all_reduce(comm *c, float *x, i64 count, dtype wire, const comm_event *after, comm_event *done) {
    staged_comm *s = of(c);
    i64 chunk = chunk_of(s, 4) * c->ranks;
    (void)after;
    for (i64 first = 0; first < count; first += chunk) {
        i64 n = least(chunk, count - first);
        comm_event arrived = {0};
        float *sum = (float *)(void *)s->in;
        TRY(copy(s, sum, x + first, (size_t)n * 4));
        TRY(ended(s, comm_all_reduce(c->host, sum, n, wire, NULL, &arrived), &arrived));
        TRY(copy(s, x + first, sum, (size_t)n * 4));
    }
    happened(done);
    return STATUS_OK;
}

static status staged_broadcast(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done) {
    staged_comm *s = of(c);
    (void)after;
    for (size_t first = 0, n; first < bytes; first += n) {
        comm_event arrived = {0};
        n = bytes - first < s->staging_bytes ? bytes - first : s->staging_bytes;
        if (c->rank == root) TRY(copy(s, s->out, (char *)x + first, n));
        TRY(ended(s, comm_broadcast(c->host, s->out, n, root, NULL, &arrived), &arrived));
        if (c->rank != root) TRY(copy(s, (char *)x + first, s->out, n));
    }
    happened(done);
    return STATUS_OK;
}

static status staged_mark(comm *c, comm_event *e) {
    (void)c;
    happened(e);
    return STATUS_OK;
}

static status staged_wait(comm *c, const comm_event *e) {
    (void)e;
    return ended(of(c), STATUS_OK, &(comm_event){0});
}

static status staged_exchange(comm *c, void *all, const void *mine, size_t bytes) {
    return ended(of(c), comm_allgather_host(c->host, all, mine, bytes), &(comm_event){0});
}

static status staged_split(comm *c, comm **part, int color) {
    staged_comm *s = calloc(1, sizeof *s);
    if (!s) FAIL(MEM, "no memory to split %d ranks", c->ranks);
    *s = *of(c);
    status_code st = comm_split(c->host, &s->base.host, color);
    if (st) {
        free(s);
        return status_trace(st, __FILE__, __LINE__);
    }
    s->base.rank = s->base.host->rank;
    s->base.ranks = s->base.host->ranks;
    s->base.totals = (comm_totals){0};
    *part = &s->base;
    return STATUS_OK;
}

static void staged_abort(comm *c, int exit_code) { comm_abort(c->host, exit_code); }

static void staged_close(comm *c) {
    staged_comm *s = of(c);
    if (c->root == c) {
        free(s->out);
        free(s->in);
    } else comm_close(c->host);
    free(s);
}

static const comm_ops staged_ops = {.all_gather = staged_all_gather,
                                    .reduce_scatter = staged_reduce_scatter,
                                    .all_reduce = staged_all_reduce,
                                    .broadcast = staged_broadcast,
                                    .mark = staged_mark,
                                    .wait = staged_wait,
                                    .allgather_host = staged_exchange,
                                    .split = staged_split,
                                    .abort = staged_abort,
                                    .close = staged_close};

status comm_staged_open(comm **c, comm *host, device *dev, size_t staging_bytes) {
    staged_comm *s = calloc(1, sizeof *s);
    char *out = malloc(staging_bytes), *in = malloc(staging_bytes);
    if (!s || !out || !in) {
        free(s);
        free(out);
        free(in);
        FAIL(MEM, "no memory for a communicator of %d ranks", host->ranks);
    }
    *s = (staged_comm){.base = *host, .dev = dev, .out = out, .in = in, .staging_bytes = staging_bytes};
    s->base.ops = &staged_ops;
    s->base.name = "staged";
    s->base.root = &s->base;
    s->base.host = host;
    s->base.totals = (comm_totals){0};
    s->base.memory_bytes = 0; /* none on the device */
    s->base.lent = 0;
    *c = &s->base;
    return STATUS_OK;
}
