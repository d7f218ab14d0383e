/* Collectives are direct exchanges: each rank sends to every other rank what that rank needs. A collective has rounds; round k
 * moves chunk k of every rank's piece. Two rounds run at a time, so that one is summed or widened while the next travels. The
 * queue's thread does all of it, from MPI_Init to MPI_Finalize. */
#include "parallel/comm_mpi.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parallel/comm_math.h"
#include "parallel/comm_queue.h"
#include "parallel/messages.h"

enum {
    STAGING_BYTES = 8 << 20,
    GROUPS = 4, /* the job and its parts; a tag is group * NUMBERS + number of the collective */
    NUMBERS = MESSAGES_TAGS / GROUPS,
    ABORT_S = 10, /* if MPI takes longer to end the job, this process exits */
};

typedef struct mpi_comm mpi_comm;

/* shared by the communicators of a process */
typedef struct {
    comm_queue *queue;
    messages *messages;
    mpi_comm *root;
    char *staging;      /* STAGING_BYTES */
    const void **terms; /* [ranks] */
    int ranks;
    double timeout_s;
    unsigned groups; /* bit g: group g is in use */
} job;

struct mpi_comm {
    comm base;
    job *job;
    int *world; /* [ranks]: rank in the group -> rank in the job */
    int group;
    uint64_t number; /* of the collective queued last */
    uint64_t ticket; /* of the same */
};

typedef enum { ALL_GATHER, REDUCE_SCATTER, ALL_REDUCE, BROADCAST, EXCHANGE } collective;

static const char *const names[] = {"all-gather", "reduce-scatter", "all-reduce", "broadcast", "exchange"};

typedef struct {
    collective what;
    const mpi_comm *group;
    uint64_t number, step;
    void *to;
    const void *from;
    i64 count; /* elements of a rank's piece; all-reduce and broadcast: of the whole */
    dtype t, wire;
    bool accumulate;
    int root;
} operation;

/* one pass over the data; an all-reduce has two */
typedef struct sweep sweep;
struct sweep {
    job *job;
    const mpi_comm *group;
    int tag, rank, ranks;
    char *to;
    const char *from;
    i64 to_at, from_at;  /* offset of `to` and `from` in the whole, in elements */
    i64 total;           /* elements over all pieces */
    size_t bytes, wired; /* of an element in memory, and as it travels */
    bool accumulate;
    int root;
    i64 chunk; /* elements */
    status (*post)(const sweep *s, i64 round, int lane);
    void (*finish)(const sweep *s, i64 round, int lane);
};

typedef struct {
    i64 first, count;
} range;

/* chunk `round` of a rank's piece, in elements of the whole; pieces differ by at most one element */
static range chunk_of(const sweep *s, int rank, i64 round) {
    i64 first = s->total * rank / s->ranks, end = s->total * (rank + 1) / s->ranks;
    first += round * s->chunk;
    i64 left = end - first;
    return (range){first, left < 0 ? 0 : left < s->chunk ? left : s->chunk};
}

typedef enum { OUT, IN } direction;

/* the staging buffer of a chunk to or from another rank */
static char *staging(const sweep *s, int lane, direction d, int rank) {
    assert(s->ranks > 1);
    size_t others = (size_t)s->ranks - 1, each = STAGING_BYTES / (2 * MESSAGES_LANES * others) / 64 * 64;
    size_t index = (size_t)(rank < s->rank ? rank : rank - 1);
    return s->job->staging + (((size_t)lane * 2 + d) * others + index) * each;
}

static i64 chunk_elements(int ranks, size_t wired) {
    size_t bytes =
        ranks > 1 ? STAGING_BYTES / (2 * MESSAGES_LANES * (size_t)(ranks - 1)) / 64 * 64 : MESSAGES_MOST_BYTES;
    return (i64)((bytes < MESSAGES_MOST_BYTES ? bytes : MESSAGES_MOST_BYTES) / wired);
}

static status receive(const sweep *s, int lane, int rank, void *to, i64 count) {
    if (!count) return STATUS_OK;
    return messages_receive(s->job->messages, lane, s->group->world[rank], s->tag, to, (size_t)count * s->wired);
}

static status send(const sweep *s, int lane, int rank, const void *from, i64 count) {
    if (!count) return STATUS_OK;
    return messages_send(s->job->messages, lane, s->group->world[rank], s->tag, from, (size_t)count * s->wired);
}

/* The i-th rank to send to and to receive from, i >= 1. Each rank begins with another one, so that they do not all send
 * to one. */
static int receiver(const sweep *s, int i) { return (s->rank + i) % s->ranks; }
static int sender(const sweep *s, int i) { return (s->rank - i + s->ranks) % s->ranks; }

static char *place(const sweep *s, range r) { return s->to + (size_t)(r.first - s->to_at) * s->bytes; }
static const char *origin(const sweep *s, range r) { return s->from + (size_t)(r.first - s->from_at) * s->bytes; }

/* all-gather: `from` holds this rank's piece */
static status post_gather(const sweep *s, i64 round, int lane) {
    bool narrow = s->wired < s->bytes;
    for (int i = 1; i < s->ranks; i++) {
        int r = sender(s, i);
        range c = chunk_of(s, r, round);
        TRY(receive(s, lane, r, narrow ? staging(s, lane, IN, r) : place(s, c), c.count));
    }
    range own = chunk_of(s, s->rank, round);
    const char *from = origin(s, own);
    for (int i = 1; i < s->ranks; i++) {
        int r = receiver(s, i);
        char *narrowed = staging(s, lane, OUT, r);
        if (narrow) comm_math_narrow((bf16 *)(void *)narrowed, (const float *)(const void *)from, own.count);
        TRY(send(s, lane, r, narrow ? narrowed : from, own.count));
    }
    void *to = place(s, own);
    if (narrow) comm_math_sum(to, (const void *[]){from}, 1, 0, BF16, own.count, false);
    else if (to != from && own.count) memcpy(to, from, (size_t)own.count * s->bytes);
    return STATUS_OK;
}

static void finish_gather(const sweep *s, i64 round, int lane) {
    if (s->wired == s->bytes) return;
    for (int r = 0; r < s->ranks; r++) {
        range c = chunk_of(s, r, round);
        if (r != s->rank)
            comm_math_widen((float *)(void *)place(s, c), (const bf16 *)(const void *)staging(s, lane, IN, r), c.count);
    }
}

/* reduce-scatter: `to` holds this rank's piece */
static status post_reduce(const sweep *s, i64 round, int lane) {
    range own = chunk_of(s, s->rank, round);
    for (int i = 1; i < s->ranks; i++)
        TRY(receive(s, lane, sender(s, i), staging(s, lane, IN, sender(s, i)), own.count));
    for (int i = 1; i < s->ranks; i++) {
        int r = receiver(s, i);
        range c = chunk_of(s, r, round);
        const char *from = origin(s, c);
        if (s->wired < 4) {
            char *narrowed = staging(s, lane, OUT, r);
            comm_math_narrow((bf16 *)(void *)narrowed, (const float *)(const void *)from, c.count);
            from = narrowed;
        }
        TRY(send(s, lane, r, from, c.count));
    }
    return STATUS_OK;
}

static void finish_reduce(const sweep *s, i64 round, int lane) {
    range own = chunk_of(s, s->rank, round);
    const void **terms = s->job->terms;
    for (int r = 0; r < s->ranks; r++) terms[r] = r == s->rank ? origin(s, own) : staging(s, lane, IN, r);
    comm_math_sum((float *)(void *)place(s, own), terms, s->ranks, s->rank, s->wired < 4 ? BF16 : F32, own.count,
                  s->accumulate);
}

/* broadcast: the root's data, by chunks */
static range chunk_of_whole(const sweep *s, i64 round) {
    i64 first = round * s->chunk, left = s->total - first;
    return (range){first, left < s->chunk ? left : s->chunk};
}

static status post_broadcast(const sweep *s, i64 round, int lane) {
    range c = chunk_of_whole(s, round);
    if (s->rank != s->root) return receive(s, lane, s->root, place(s, c), c.count);
    for (int i = 1; i < s->ranks; i++) TRY(send(s, lane, receiver(s, i), place(s, c), c.count));
    return STATUS_OK;
}

static status run_sweep(const sweep *s, i64 longest) {
    i64 rounds = (longest + s->chunk - 1) / s->chunk;
    for (i64 k = 0; k <= rounds; k++) {
        if (k < rounds) TRY(s->post(s, k, (int)(k % MESSAGES_LANES)));
        if (k == 0) continue;
        int lane = (int)((k - 1) % MESSAGES_LANES);
        TRY(messages_wait(s->job->messages, lane));
        if (s->finish) s->finish(s, k - 1, lane);
    }
    return STATUS_OK;
}

static status gather(sweep s) {
    s.post = post_gather, s.finish = finish_gather;
    return run_sweep(&s, (s.total + s.ranks - 1) / s.ranks);
}

static status reduce(sweep s) {
    s.post = post_reduce, s.finish = finish_reduce;
    return run_sweep(&s, (s.total + s.ranks - 1) / s.ranks);
}

static sweep sweep_of(job *j, const operation *o) {
    const mpi_comm *g = o->group;
    bool bytes = o->what == EXCHANGE || o->what == BROADCAST;
    size_t wired = bytes ? 1 : dtype_bytes(o->wire);
    return (sweep){.job = j,
                   .group = g,
                   .tag = g->group * NUMBERS + (int)(o->number % NUMBERS),
                   .rank = g->base.rank,
                   .ranks = g->base.ranks,
                   .to = o->to,
                   .from = o->from,
                   .total = o->what == ALL_REDUCE || o->what == BROADCAST ? o->count : o->count * g->base.ranks,
                   .bytes = bytes ? 1 : dtype_bytes(o->t),
                   .wired = wired,
                   .accumulate = o->accumulate,
                   .root = o->root,
                   .chunk = chunk_elements(g->base.ranks, wired)};
}

static status run_collective(job *j, const operation *o) {
    sweep s = sweep_of(j, o);
    if (!o->count) return STATUS_OK;
    switch (o->what) {
    case ALL_GATHER:
    case EXCHANGE:
        s.from_at = o->count * s.rank;
        TRY(gather(s));
        break;
    case REDUCE_SCATTER:
        s.to_at = o->count * s.rank;
        TRY(reduce(s));
        break;
    case ALL_REDUCE:
        TRY(reduce(s));
        TRY(gather(s));
        break;
    case BROADCAST:
        s.post = post_broadcast;
        TRY(run_sweep(&s, s.total));
        break;
    }
    return STATUS_OK;
}

/* on the queue's thread */
static status run(void *context, const void *queued) {
    job *j = context;
    const operation *o = queued;
    uint64_t began = meter_clock_ns(), sent = messages_sent_bytes(j->messages);
    messages_begin(j->messages, names[o->what], o->number, o->step);
    status_code st = run_collective(j, o);
    comm_totals *totals = &j->root->base.totals;
    __atomic_fetch_add(&totals->bytes_sent, messages_sent_bytes(j->messages) - sent, __ATOMIC_RELAXED);
    __atomic_fetch_add(&totals->busy_ns, meter_clock_ns() - began, __ATOMIC_RELAXED);
    return st;
}

static status start(void *context) {
    job *j = context;
    return messages_open(&j->messages, j->root->base.placement, j->timeout_s);
}

static void stop(void *context, bool failed) { messages_close(((job *)context)->messages, failed); }

/* The computation waits; the time is booked. */
static status wait_for(mpi_comm *c, uint64_t ticket) {
    comm *root = c->base.root;
    job *j = c->job;
    status_code st;
    if (comm_queue_must_wait(j->queue, ticket)) {
        uint64_t began = meter_clock_ns();
        booking before = root->clock ? meter_book(root->clock, BOOK_COMMUNICATION) : BOOKINGS;
        st = comm_queue_wait(j->queue, ticket);
        if (root->clock) meter_book(root->clock, before);
        __atomic_fetch_add(&root->totals.waited_ns, meter_clock_ns() - began, __ATOMIC_RELAXED);
    } else st = comm_queue_wait(j->queue, ticket);
    if (st) root->broken = true;
    TRY(st);
    return STATUS_OK;
}

/* `after` is complete: on a CPU, the computation before this call has run */
static status queue(comm *base, operation o, comm_event *done) {
    mpi_comm *c = (mpi_comm *)base;
    o.group = c;
    o.number = c->number + 1;
    o.step = base->root->step;
    TRY(wait_for(c, comm_queue_before_put(c->job->queue)));
    TRY(comm_queue_put(c->job->queue, &o, &c->ticket));
    c->number++;
    if (done) *done = (comm_event){.ticket = c->ticket};
    return STATUS_OK;
}

static status mpi_all_gather(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire,
                             const comm_event *after, comm_event *done) {
    (void)after;
    return queue(c, (operation){.what = ALL_GATHER, .to = to, .from = from, .count = count, .t = t, .wire = wire},
                 done);
}

static status mpi_reduce_scatter(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                                 const comm_event *after, comm_event *done) {
    (void)after;
    operation o = {
        .what = REDUCE_SCATTER, .to = to, .from = from, .count = count, .wire = wire, .accumulate = accumulate};
    return queue(c, o, done);
}

static status mpi_all_reduce(comm *c, float *x, i64 count, dtype wire, const comm_event *after, comm_event *done) {
    (void)after;
    return queue(c, (operation){.what = ALL_REDUCE, .to = x, .from = x, .count = count, .wire = wire}, done);
}

static status mpi_broadcast(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done) {
    (void)after;
    return queue(c, (operation){.what = BROADCAST, .to = x, .count = (i64)bytes, .root = root}, done);
}

static status mpi_mark(comm *c, comm_event *e) {
    (void)c;
    *e = (comm_event){0};
    return STATUS_OK;
}

static status mpi_wait(comm *c, const comm_event *e) { return wait_for((mpi_comm *)c, e->ticket); }

static status mpi_exchange(comm *c, void *all, const void *mine, size_t bytes) {
    comm_event done = {0};
    TRY(queue(c, (operation){.what = EXCHANGE, .to = all, .from = mine, .count = (i64)bytes}, &done));
    return mpi_wait(c, &done);
}

static void free_comm(mpi_comm *c) {
    if (!c) return;
    free(c->world);
    free(c);
}

static mpi_comm *new_comm(job *j, const comm *like, int ranks) {
    mpi_comm *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    if (like) c->base = *like;
    c->base.ranks = ranks;
    c->job = j;
    c->world = calloc((size_t)ranks, sizeof *c->world);
    if (c->world) return c;
    free_comm(c);
    return NULL;
}

/* what the ranks exchange to split */
typedef struct {
    int color, world;
    unsigned groups;
} parting;

static status mpi_split(comm *base, comm **part, int color) {
    mpi_comm *from = (mpi_comm *)base;
    job *j = from->job;
    mpi_comm *c = NULL;
    status_code st = STATUS_OK;
    parting mine = {color, from->world[base->rank], j->groups}, *all = calloc((size_t)base->ranks, sizeof *all);
    if (!all) FAIL(MEM, "no memory to split %d ranks", base->ranks);
    TRY_DONE(mpi_exchange(base, all, &mine, sizeof mine));
    if (!(c = new_comm(j, base, base->ranks))) FAIL_DONE(MEM, "no memory to split %d ranks", base->ranks);
    c->base.ranks = 0;
    unsigned groups = 0;
    for (int r = 0; r < base->ranks; r++) {
        groups |= all[r].groups;
        if (all[r].color != color) continue;
        if (r == base->rank) c->base.rank = c->base.ranks;
        c->world[c->base.ranks++] = all[r].world;
    }
    /* a group number that none of the ranks uses */
    while (groups & 1u << c->group) c->group++;
    if (c->group >= GROUPS)
        FAIL_DONE(ARG, "split: a rank is already in %d parts of the ranks, which is the maximum", GROUPS - 1);
    j->groups |= 1u << c->group;
    c->base.totals = (comm_totals){0};
    c->base.memory_bytes = 0;
    c->base.lent = 0;
    *part = &c->base;
done:
    free(all);
    if (st) free_comm(c);
    return st;
}

static void mpi_abort(comm *base, int exit_code) {
    job *j = ((mpi_comm *)base)->job;
    messages_ask_abort(j->messages, exit_code);
    comm_queue_end(j->queue);
    sleep(ABORT_S);
    _exit(exit_code);
}

static void free_job(job *j) {
    if (!j) return;
    if (j->root) placement_close(j->root->base.placement);
    free_comm(j->root);
    free(j->staging);
    free(j->terms);
    free(j);
}

static void mpi_close(comm *base) {
    mpi_comm *c = (mpi_comm *)base;
    job *j = c->job;
    if (c != j->root) {
        /* after a failure none of its collectives runs */
        if (wait_for(c, c->ticket) == STATUS_OK) j->groups &= ~(1u << c->group);
        free_comm(c);
        return;
    }
    /* MPI_Finalize would wait forever for a rank that has died; this exchange finds it */
    char mine = 0, *all = calloc((size_t)base->ranks, 1);
    if (all && mpi_exchange(base, all, &mine, 1) != STATUS_OK) base->broken = true;
    comm_queue_close(j->queue);
    free(all);
    free_job(j);
}

static const comm_ops mpi_ops = {.all_gather = mpi_all_gather,
                                 .reduce_scatter = mpi_reduce_scatter,
                                 .all_reduce = mpi_all_reduce,
                                 .broadcast = mpi_broadcast,
                                 .mark = mpi_mark,
                                 .wait = mpi_wait,
                                 .allgather_host = mpi_exchange,
                                 .split = mpi_split,
                                 .abort = mpi_abort,
                                 .close = mpi_close};

status comm_mpi_open(comm **opened, int ranks, double timeout_s) {
    status_code st = STATUS_OK;
    *opened = NULL;
    job *j = calloc(1, sizeof *j);
    if (!j) FAIL(MEM, "no memory for a communicator");
    *j = (job){.ranks = ranks, .timeout_s = timeout_s, .groups = 1};
    j->staging = aligned_alloc(4096, STAGING_BYTES);
    j->terms = calloc((size_t)ranks, sizeof *j->terms);
    j->root = new_comm(j, NULL, ranks);
    if (!j->staging || !j->terms || !j->root) FAIL_DONE(MEM, "no memory for a communicator of %d ranks", ranks);
    TRY_DONE(placement_open(&j->root->base.placement, ranks));
    static const comm_work work = {.operation_bytes = sizeof(operation), .start = start, .run = run, .stop = stop};
    TRY_DONE(comm_queue_open(&j->queue, &work, j));
    comm *c = &j->root->base;
    c->ops = &mpi_ops, c->name = "mpi", c->root = c;
    c->rank = c->placement->rank;
    c->memory_bytes = STAGING_BYTES;
    for (int r = 0; r < ranks; r++) j->root->world[r] = r;
    *opened = c;
done:
    if (st) free_job(j);
    return st;
}
