#include "tools/simulated_comm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ranks at equal distances in the numbering of the job */
typedef struct {
    int ranks, stride;
} group;

typedef struct {
    comm c;
    virtual_clock *clock;
    const network *net;
    group here;
    group parts[2]; /* of the root: the parts that the engine will split off, in this order */
    int part_count, split;
} simulated;

static simulated *of(comm *c) { return (simulated *)c; }

static uint64_t latest(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* x rounded to an integer that can be added to `sum` */
static uint64_t whole(virtual_clock *k, double x, uint64_t sum) {
    k->overflow |= !(x + (double)sum < 0x1p62);
    return k->overflow ? 0 : (uint64_t)llround(x);
}

void simulated_comm_work(virtual_clock *k, double seconds) {
    uint64_t ns = whole(k, seconds * 1e9, k->now_ns);
    k->now_ns += ns;
    k->compute_ns += ns;
}

/* --- durations --- */

/* s of an all-gather or reduce-scatter of `bytes` in all */
static double one_way(const network *net, group g, double bytes) {
    int m = net->per_node / g.stride < 1 ? 1 : net->per_node / g.stride;
    if (m > g.ranks) m = g.ranks;
    int N = (g.ranks + m - 1) / m;
    double out = m * net->between.bandwidth, in = net->inside.bandwidth;
    double narrowest = fmin(m > 1 ? in : INFINITY, N > 1 ? out : INFINITY);
    double ring = N * (m - 1) * net->inside.latency + (N - 1) * net->between.latency +
                  bytes * (g.ranks - 1) / g.ranks / narrowest;
    double staged = ceil(log2(N)) * net->between.latency + ceil(log2(m)) * net->inside.latency +
                    bytes * (N - 1) / N / out + bytes * (m - 1) / m / in;
    return fmin(ring, staged);
}

/* --- the queue --- */

static void wait_until(simulated *s, uint64_t ns) {
    virtual_clock *k = s->clock;
    if (ns <= k->now_ns) return;
    s->c.root->totals.waited_ns += ns - k->now_ns;
    k->now_ns = ns;
}

/* ways: 1, or 2 for an all-reduce */
static void queue(simulated *s, int ways, double bytes, const comm_event *after, comm_event *done) {
    virtual_clock *k = s->clock;
    comm_totals *totals = &s->c.root->totals;
    uint64_t start = latest(latest(k->queue_ns, k->now_ns), after ? after->ticket : 0);
    uint64_t ns = whole(k, ways * one_way(s->net, s->here, bytes) * 1e9, start);
    k->queue_ns = start + ns;
    totals->busy_ns += ns;
    totals->bytes_sent += whole(k, floor(ways * bytes * (s->here.ranks - 1) / s->here.ranks), totals->bytes_sent);
    if (done) *done = (comm_event){.ticket = k->queue_ns};
    if (k->blocking) wait_until(s, k->queue_ns);
}

static status simulated_all_gather(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire,
                                   const comm_event *after, comm_event *done) {
    (void)to, (void)from, (void)t;
    queue(of(c), 1, (double)(count * c->ranks) * (double)dtype_bytes(wire), after, done);
    return STATUS_OK;
}

static status simulated_reduce_scatter(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                                       const comm_event *after, comm_event *done) {
    (void)accumulate;
    return simulated_all_gather(c, to, from, count, F32, wire, after, done);
}

static status simulated_all_reduce(comm *c, float *x, i64 count, dtype wire, const comm_event *after,
                                   comm_event *done) {
    (void)x;
    queue(of(c), 2, (double)count * (double)dtype_bytes(wire), after, done);
    return STATUS_OK;
}

/* scattered, then gathered: Thakur et al. 2005, section 4.2 */
static status simulated_broadcast(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done) {
    (void)x, (void)root;
    queue(of(c), 2, (double)bytes, after, done);
    return STATUS_OK;
}

static status simulated_mark(comm *c, comm_event *e) {
    *e = (comm_event){.ticket = of(c)->clock->now_ns};
    return STATUS_OK;
}

static status simulated_wait(comm *c, const comm_event *e) {
    wait_until(of(c), e->ticket);
    return STATUS_OK;
}

static status simulated_exchange(comm *c, void *all, const void *mine, size_t bytes) {
    comm_event done;
    queue(of(c), 1, (double)c->ranks * (double)bytes, NULL, &done);
    for (int r = 0; r < c->ranks; r++) memcpy((char *)all + (size_t)r * bytes, mine, bytes);
    return simulated_wait(c, &done);
}

static void simulated_abort(comm *c, int exit_code) { (void)c, (void)exit_code; }
static void simulated_close(comm *c) { free(c); }

static status simulated_split(comm *c, comm **part, int color) {
    simulated *root = of(c->root), *s = calloc(1, sizeof *s);
    (void)color;
    if (!s) FAIL(MEM, "no memory for a simulated communicator");
    if (root->split == root->part_count) {
        free(s);
        FAIL(ARG, "simulated communicator: split %d times, expected %d", root->split + 1, root->part_count);
    }
    *s = (simulated){.c = root->c, .clock = root->clock, .net = root->net, .here = root->parts[root->split++]};
    s->c.ranks = s->here.ranks;
    *part = &s->c;
    return STATUS_OK;
}

static const comm_ops simulated_ops = {.all_gather = simulated_all_gather,
                                       .reduce_scatter = simulated_reduce_scatter,
                                       .all_reduce = simulated_all_reduce,
                                       .broadcast = simulated_broadcast,
                                       .mark = simulated_mark,
                                       .wait = simulated_wait,
                                       .allgather_host = simulated_exchange,
                                       .split = simulated_split,
                                       .abort = simulated_abort,
                                       .close = simulated_close};

status simulated_comm_open(comm **c, virtual_clock *clock, const network *net, int ranks, int pieces) {
    int g = net->per_node;
    *c = NULL;
    if (ranks > g && ranks % g) FAIL(ARG, "--devices %d: expected whole nodes, --gpus-per-node %d", ranks, g);
    if (pieces % g && g % pieces && ranks > g)
        FAIL(ARG, "--replicas: %d ranks share a model, expected a divisor or a multiple of --gpus-per-node %d", pieces,
             g);
    simulated *s = calloc(1, sizeof *s);
    if (!s) FAIL(MEM, "no memory for a simulated communicator");
    *s = (simulated){.c = {.ops = &simulated_ops, .root = &s->c, .name = "simulated", .ranks = ranks},
                     .clock = clock,
                     .net = net,
                     .here = {ranks, 1}};
    if (pieces > 1) s->parts[s->part_count++] = (group){pieces, 1};
    if (pieces < ranks) s->parts[s->part_count++] = (group){ranks / pieces, pieces};
    *c = &s->c;
    return STATUS_OK;
}
