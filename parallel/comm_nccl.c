/* The NCCL backend. If elements travel in their own dtype, the collectives are NCCL's. If f32 travels as bf16, our kernels round
 * it into the staging buffer, piece by piece, and add what all ranks have sent, in f32 and in the order of ranks: NCCL's sum of
 * bf16 would round at every hop. */
#include "parallel/comm_nccl.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/comm_stream.h"
#include "parallel/comm_math_cuda.h"
#include "parallel/nccl_library.h"
#include "runtime/cuda.h"

enum { ABORT_MS = 100, ALIGN = 64 /* elements */ };

typedef struct nccl_comm nccl_comm;

static const nccl_library *nccl; /* set when a communicator is opened */

/* shared by the communicator and its parts */
typedef struct {
    comm_stream *stream;
    device *dev;
    bf16 *out, *in; /* two halves of the staging buffer */
    size_t staging_bytes;
    pthread_mutex_t calls; /* held during a call of NCCL */
    pthread_mutex_t list;
    nccl_comm *first; /* the open ones, which the watchdog checks and aborts */
} engine;

struct nccl_comm {
    comm base;
    engine *e;
    ncclComm_t nccl;
    int *members;    /* [ranks]: rank in the group -> rank in the job */
    uint64_t number; /* of the collective queued last */
    comm_event last; /* complete with that collective */
    nccl_comm *next;
};

typedef struct {
    const char *what;
    void *to;
    const void *from;
    float *own; /* reduce-scatter: this rank's piece of from */
    i64 count;
    dtype t, wire;
    bool accumulate;
    int root;
} operation;

static nccl_comm *of(comm *c) { return (nccl_comm *)c; }
static cudaStream_t stream_of(const nccl_comm *c) { return comm_stream_of(c->e->stream); }

/* --- calls: NCCL does not block this thread, so a call may return "in progress" --- */

/* Waits until NCCL has queued the call on the stream. The watchdog applies the time-out. */
static status settle(nccl_comm *c, const char *call, ncclResult_t r) {
    engine *e = c->e;
    while (r == ncclInProgress && !comm_stream_broken(e->stream)) {
        sched_yield();
        pthread_mutex_lock(&e->calls);
        if (!comm_stream_broken(e->stream)) {
            ncclResult_t asked = nccl->CommGetAsyncError(c->nccl, &r);
            if (asked != ncclSuccess) r = asked;
        }
        pthread_mutex_unlock(&e->calls);
    }
    if (comm_stream_broken(e->stream)) return comm_stream_check(e->stream);
    if (r == ncclSuccess) return STATUS_OK;
    return comm_stream_break(e->stream, "%s: %s: %s", call, nccl->GetErrorString(r), nccl->GetLastError(c->nccl));
}

/* When the communicator is broken, only the watchdog uses its handles. */
#define NCCL_TRY(c, name, call)                                                                                        \
    do {                                                                                                               \
        pthread_mutex_lock(&(c)->e->calls);                                                                            \
        ncclResult_t result_ = comm_stream_broken((c)->e->stream) ? ncclSuccess : (call);                              \
        pthread_mutex_unlock(&(c)->e->calls);                                                                          \
        TRY(settle(c, name, result_));                                                                                 \
    } while (0)

/* --- the watchdog's --- */

/* Only one thread at a time may query a communicator: the query that finds its work done also clears it. During a call the
 * calling thread queries. */
static const char *trouble(void *library) {
    engine *e = library;
    ncclResult_t error = ncclSuccess;
    if (pthread_mutex_trylock(&e->calls) != 0) return NULL;
    pthread_mutex_lock(&e->list);
    for (nccl_comm *c = e->first; c; c = c->next) {
        ncclResult_t asked = nccl->CommGetAsyncError(c->nccl, &error);
        if (asked != ncclSuccess) error = asked;
        if (error != ncclSuccess && error != ncclInProgress) break;
    }
    pthread_mutex_unlock(&e->list);
    pthread_mutex_unlock(&e->calls);
    return error == ncclSuccess || error == ncclInProgress ? NULL : nccl->GetErrorString(error);
}

/* Aborts all communicators together, since one alone might wait for another's collective on the stream. It waits at most
 * ABORT_MS for a thread that is inside NCCL, since only the abort makes that thread return. That thread may then still use a communicator
 * that is freed: this risk is taken, because the alternative is to hang. */
static void abort_all(void *library) {
    engine *e = library;
    const struct timespec pause = {.tv_nsec = 1000000};
    bool locked = false; /* pthread_mutex_timedlock uses a clock that can be set */
    for (int ms = 0; ms < ABORT_MS && !(locked = pthread_mutex_trylock(&e->calls) == 0); ms++) nanosleep(&pause, NULL);
    pthread_mutex_lock(&e->list);
    nccl->GroupStart();
    for (nccl_comm *c = e->first; c; c = c->next) {
        nccl->CommAbort(c->nccl);
        c->nccl = NULL;
    }
    nccl->GroupEnd();
    pthread_mutex_unlock(&e->list);
    if (locked) pthread_mutex_unlock(&e->calls);
}

static const comm_watch watch = {.trouble = trouble, .abort = abort_all};

/* --- collectives --- */

static ncclDataType_t type_of(dtype t) { return t == F32 ? ncclFloat32 : ncclBfloat16; }

static i64 least(i64 a, i64 b) { return a < b ? a : b; }

/* elements of each rank that fit into half of the staging buffer */
static i64 chunk_of(const nccl_comm *c) {
    return (i64)(c->e->staging_bytes / 2 / sizeof(bf16)) / c->base.ranks / ALIGN * ALIGN;
}

static status gather_narrowed(nccl_comm *c, const operation *o) {
    cudaStream_t stream = stream_of(c);
    i64 chunk = chunk_of(c);
    const engine *e = c->e;
    for (i64 first = 0; first < o->count; first += chunk) {
        i64 n = least(chunk, o->count - first);
        TRY(comm_math_narrow_cuda(stream, e->out, n, (const float *)o->from + first, n, 1, n));
        NCCL_TRY(c, "ncclAllGather", nccl->AllGather(e->out, e->in, (size_t)n, ncclBfloat16, c->nccl, stream));
        TRY(comm_math_widen_cuda(stream, (float *)o->to + first, o->count, e->in, n, c->base.ranks, n));
    }
    return STATUS_OK;
}

static status gather(nccl_comm *c, const operation *o) {
    if (o->t != o->wire) return gather_narrowed(c, o);
    NCCL_TRY(c, "ncclAllGather",
             nccl->AllGather(o->from, o->to, (size_t)o->count, type_of(o->t), c->nccl, stream_of(c)));
    return STATUS_OK;
}

/* elements of rank r's part of n: `part`, fewer for the last ranks */
static i64 part_of(i64 n, i64 part, int r) { return n <= r * part ? 0 : least(part, n - r * part); }

/* in [ranks][part] = out [my rank][part] of every rank: each rank sends to each other rank its part of n elements */
static ncclResult_t send_parts(nccl_comm *c, i64 part, i64 n) {
    const engine *e = c->e;
    int me = c->base.rank;
    i64 mine = part_of(n, part, me);
    ncclResult_t r = nccl->GroupStart();
    for (int i = 1; i < c->base.ranks && r == ncclSuccess; i++) {
        int to = (me + i) % c->base.ranks, from = (me - i + c->base.ranks) % c->base.ranks;
        i64 theirs = part_of(n, part, to);
        if (theirs) r = nccl->Send(e->out + to * part, (size_t)theirs, ncclBfloat16, to, c->nccl, stream_of(c));
        if (mine && r == ncclSuccess)
            r = nccl->Recv(e->in + from * part, (size_t)mine, ncclBfloat16, from, c->nccl, stream_of(c));
    }
    ncclResult_t ended = nccl->GroupEnd();
    return r == ncclSuccess ? ended : r;
}

static status exchange_parts(nccl_comm *c, i64 part, i64 n) {
    const engine *e = c->e;
    i64 own = c->base.rank * part;
    size_t bytes = (size_t)part_of(n, part, c->base.rank) * sizeof(bf16);
    if (bytes) CUDA_TRY(cudaMemcpyAsync(e->in + own, e->out + own, bytes, cudaMemcpyDeviceToDevice, stream_of(c)));
    if (c->base.ranks > 1) NCCL_TRY(c, "ncclSend and ncclRecv", send_parts(c, part, n));
    return STATUS_OK;
}

static status reduce_narrowed(nccl_comm *c, const operation *o) {
    cudaStream_t stream = stream_of(c);
    i64 chunk = chunk_of(c);
    const engine *e = c->e;
    int ranks = c->base.ranks;
    for (i64 first = 0; first < o->count; first += chunk) {
        i64 n = least(chunk, o->count - first);
        TRY(comm_math_narrow_cuda(stream, e->out, n, (const float *)o->from + first, o->count, ranks, n));
        TRY(exchange_parts(c, n, n * ranks));
        TRY(comm_math_sum_cuda(stream, (float *)o->to + first, e->in, n, ranks, n, o->accumulate));
    }
    return STATUS_OK;
}

static status reduce(nccl_comm *c, const operation *o) {
    if (o->wire == BF16) return reduce_narrowed(c, o);
    if (o->accumulate) TRY(comm_math_add_cuda(stream_of(c), o->own, o->to, o->count));
    NCCL_TRY(c, "ncclReduceScatter",
             nccl->ReduceScatter(o->from, o->to, (size_t)o->count, ncclFloat32, ncclSum, c->nccl, stream_of(c)));
    return STATUS_OK;
}

/* The sum of a rank's part is stored in its place in x, which is overwritten at the end. */
static status reduce_all_narrowed(nccl_comm *c, const operation *o) {
    cudaStream_t stream = stream_of(c);
    const engine *e = c->e;
    int ranks = c->base.ranks, me = c->base.rank;
    i64 chunk = chunk_of(c) * ranks;
    for (i64 first = 0; first < o->count; first += chunk) {
        i64 n = least(chunk, o->count - first), part = ((n + ranks - 1) / ranks + 7) / 8 * 8;
        i64 mine = part_of(n, part, me);
        float *x = (float *)o->to + first, *sum = x + me * part;
        TRY(comm_math_narrow_cuda(stream, e->out, n, x, n, 1, n));
        TRY(exchange_parts(c, part, n));
        TRY(comm_math_sum_cuda(stream, sum, e->in, part, ranks, mine, false));
        TRY(comm_math_narrow_cuda(stream, e->out + me * part, mine, sum, mine, 1, mine));
        NCCL_TRY(c, "ncclAllGather",
                 nccl->AllGather(e->out + me * part, e->out, (size_t)part, ncclBfloat16, c->nccl, stream));
        TRY(comm_math_widen_cuda(stream, x, n, e->out, n, 1, n));
    }
    return STATUS_OK;
}

static status reduce_all(nccl_comm *c, const operation *o) {
    if (o->wire == BF16) return reduce_all_narrowed(c, o);
    NCCL_TRY(c, "ncclAllReduce",
             nccl->AllReduce(o->to, o->to, (size_t)o->count, ncclFloat32, ncclSum, c->nccl, stream_of(c)));
    return STATUS_OK;
}

static status broadcast(nccl_comm *c, const operation *o) {
    NCCL_TRY(c, "ncclBroadcast",
             nccl->Broadcast(o->to, o->to, (size_t)o->count, ncclUint8, o->root, c->nccl, stream_of(c)));
    return STATUS_OK;
}

/* sent: bytes, from the formula in comm.h */
static status queue(comm *base, status_code (*body)(nccl_comm *c, const operation *o), operation o, i64 sent,
                    const comm_event *after, comm_event *done) {
    nccl_comm *c = of(base);
    comm_stream *s = c->e->stream;
    if (done) *done = (comm_event){0};
    if (!o.count) return comm_stream_broken(s) ? comm_stream_check(s) : STATUS_OK;
    comm_call call = {.what = o.what, .group = base, .members = c->members, .number = c->number + 1};
    TRY(comm_stream_begin(s, call, after));
    status_code st = body(c, &o);
    if (st && !comm_stream_broken(s)) st = comm_stream_break(s, "%s", status_message());
    TRY(st);
    TRY(comm_stream_end(s, &c->last));
    c->number++;
    if (done) *done = c->last;
    __atomic_fetch_add(&base->root->totals.bytes_sent, (uint64_t)sent, __ATOMIC_RELAXED);
    return STATUS_OK;
}

static i64 bytes_of(dtype t, i64 count) { return count * (i64)dtype_bytes(t); }

static status nccl_all_gather(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire,
                              const comm_event *after, comm_event *done) {
    operation o = {.what = "all-gather", .to = to, .from = from, .count = count, .t = t, .wire = wire};
    return queue(c, gather, o, bytes_of(wire, count) * (c->ranks - 1), after, done);
}

static status nccl_reduce_scatter(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                                  const comm_event *after, comm_event *done) {
    operation o = {.what = "reduce-scatter",
                   .to = to,
                   .from = from,
                   .own = from + c->rank * count,
                   .count = count,
                   .wire = wire,
                   .accumulate = accumulate};
    return queue(c, reduce, o, bytes_of(wire, count) * (c->ranks - 1), after, done);
}

static status nccl_all_reduce(comm *c, float *x, i64 count, dtype wire, const comm_event *after, comm_event *done) {
    operation o = {.what = "all-reduce", .to = x, .from = x, .count = count, .wire = wire};
    i64 own = count * (c->rank + 1) / c->ranks - count * c->rank / c->ranks;
    return queue(c, reduce_all, o, bytes_of(wire, count - own + own * (c->ranks - 1)), after, done);
}

static status nccl_broadcast(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done) {
    operation o = {.what = "broadcast", .to = x, .from = x, .count = (i64)bytes, .root = root};
    return queue(c, broadcast, o, c->rank == root ? (i64)bytes * (c->ranks - 1) : 0, after, done);
}

static status nccl_mark(comm *c, comm_event *e) { return comm_stream_mark(of(c)->e->stream, e); }
static status nccl_wait(comm *c, const comm_event *e) { return comm_stream_wait(of(c)->e->stream, e); }
static status nccl_check(comm *c) { return comm_stream_check(of(c)->e->stream); }

static status nccl_exchange(comm *c, void *all, const void *mine, size_t bytes) {
    if (comm_stream_broken(of(c)->e->stream)) return comm_stream_check(of(c)->e->stream);
    return comm_allgather_host(c->host, all, mine, bytes);
}

static void nccl_abort(comm *c, int exit_code) { comm_abort(c->host, exit_code); }

/* --- opening and closing --- */

static ncclResult_t start(nccl_comm *c, ncclUniqueId id) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    return nccl->CommInitRankConfig(&c->nccl, c->base.ranks, id, c->base.rank, &config);
}

/* The other ranks of the group may be missing; the watchdog checks them. */
static void meet_others(nccl_comm *c, const char *what) {
    comm_call call = {.what = what, .group = &c->base, .members = c->members, .number = c->number + 1};
    comm_stream_meet(c->e->stream, call);
}

static status join(nccl_comm *c, ncclUniqueId id) {
    NCCL_TRY(c, "ncclCommInitRankConfig", start(c, id));
    return STATUS_OK;
}

static status meet(nccl_comm *c, ncclUniqueId *all) {
    comm *host = c->base.host;
    ncclUniqueId mine;
    memset(&mine, 0, sizeof mine);
    status_code st = STATUS_OK;
    if (host->rank == 0) {
        ncclResult_t r = nccl->GetUniqueId(&mine);
        if (r != ncclSuccess)
            st = ERROR(COMM, "ncclGetUniqueId: %s: %s", nccl->GetErrorString(r), nccl->GetLastError(NULL));
    }
    TRY(comm_agree(host, st));
    TRY(comm_allgather_host(host, all, &mine, sizeof mine));
    meet_others(c, "NCCL's initialisation");
    st = join(c, all[0]);
    comm_stream_met(c->e->stream);
    return st;
}

static void list(nccl_comm *c) {
    pthread_mutex_lock(&c->e->list);
    c->next = c->e->first;
    c->e->first = c;
    pthread_mutex_unlock(&c->e->list);
}

static bool unlist(nccl_comm *c) {
    bool listed = false;
    pthread_mutex_lock(&c->e->list);
    for (nccl_comm **at = &c->e->first; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            listed = true;
            break;
        }
    pthread_mutex_unlock(&c->e->list);
    return listed;
}

/* c->base.host is open and has the ranks of the group */
static status open_group(nccl_comm *c) {
    comm *host = c->base.host;
    status_code st = STATUS_OK;
    int mine = c->base.root->host->rank;
    ncclUniqueId *all = calloc((size_t)host->ranks, sizeof *all);
    c->members = calloc((size_t)host->ranks, sizeof *c->members);
    if (!all || !c->members) FAIL_DONE(MEM, "no memory for a communicator of %d ranks", host->ranks);
    TRY_DONE(comm_allgather_host(host, c->members, &mine, sizeof mine));
    st = meet(c, all);
    TRY_DONE(comm_agree(host, st));
    list(c);
done:
    free(all);
    return st;
}

static status finalize(nccl_comm *c) {
    NCCL_TRY(c, "ncclCommFinalize", nccl->CommFinalize(c->nccl));
    return STATUS_OK;
}

static status leave(nccl_comm *c) {
    meet_others(c, "NCCL's end");
    status_code st = finalize(c);
    comm_stream_met(c->e->stream);
    return st;
}

/* Ends the communicator as NCCL requires, or aborts it after a failure. */
static void close_group(nccl_comm *c) {
    bool listed = unlist(c);
    if (c->nccl && listed && !comm_stream_broken(c->e->stream) && leave(c) == STATUS_OK) nccl->CommDestroy(c->nccl);
    else if (c->nccl) nccl->CommAbort(c->nccl);
    c->nccl = NULL;
}

static void free_engine(engine *e) {
    comm_stream_close(e->stream);
    e->dev->ops->free(e->dev, e->out, e->staging_bytes);
    pthread_mutex_destroy(&e->calls);
    pthread_mutex_destroy(&e->list);
    free(e);
}

static void nccl_close(comm *base) {
    nccl_comm *c = of(base);
    bool root = base->root == base;
    if (comm_stream_finish(c->e->stream, &c->last) != STATUS_OK) base->root->broken = true;
    close_group(c);
    if (root) free_engine(c->e);
    else comm_close(base->host);
    free(c->members);
    free(c);
}

static nccl_comm *new_comm(engine *e, const comm *like) {
    nccl_comm *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->e = e;
    c->base = *like;
    c->base.totals = (comm_totals){0};
    c->base.lent = 0;
    return c;
}

static status nccl_split(comm *base, comm **part, int color) {
    nccl_comm *c = new_comm(of(base)->e, base);
    status_code st = STATUS_OK;
    if (!c) FAIL(MEM, "no memory to split %d ranks", base->ranks);
    c->base.host = NULL;
    TRY_DONE(comm_split(base->host, &c->base.host, color));
    c->base.rank = c->base.host->rank;
    c->base.ranks = c->base.host->ranks;
    c->base.memory_bytes = 0;
    TRY_DONE(open_group(c));
    *part = &c->base;
done:
    if (st) {
        close_group(c);
        comm_close(c->base.host);
        free(c->members);
        free(c);
    }
    return st;
}

static const comm_ops nccl_ops = {.all_gather = nccl_all_gather,
                                  .reduce_scatter = nccl_reduce_scatter,
                                  .all_reduce = nccl_all_reduce,
                                  .broadcast = nccl_broadcast,
                                  .mark = nccl_mark,
                                  .wait = nccl_wait,
                                  .check = nccl_check,
                                  .allgather_host = nccl_exchange,
                                  .split = nccl_split,
                                  .abort = nccl_abort,
                                  .close = nccl_close};

status comm_nccl_find(void) {
    TRY(nccl_library_load(&nccl));
    return STATUS_OK;
}

status comm_nccl_open(comm **opened, comm *host, device *dev, size_t staging_bytes) {
    status_code st = STATUS_OK;
    void *staging = NULL;
    *opened = NULL;
    TRY(nccl_library_load(&nccl));
    engine *e = calloc(1, sizeof *e);
    nccl_comm *c = e ? new_comm(e, host) : NULL;
    if (!c) {
        free(e);
        FAIL(MEM, "no memory for a communicator of %d ranks", host->ranks);
    }
    *e = (engine){.dev = dev, .staging_bytes = staging_bytes};
    pthread_mutex_init(&e->calls, NULL);
    pthread_mutex_init(&e->list, NULL);
    c->base.ops = &nccl_ops, c->base.name = nccl->name, c->base.root = &c->base, c->base.host = host;
    c->base.clock = NULL;
    c->base.memory_bytes = staging_bytes;
    TRY_DONE(dev->ops->alloc(dev, &staging, staging_bytes));
    e->out = staging;
    e->in = e->out + staging_bytes / 2 / sizeof(bf16);
    TRY_DONE(comm_stream_open(&e->stream, &c->base, dev, &watch, e));
    TRY_DONE(open_group(c));
    *opened = &c->base;
done:
    if (st) {
        if (e->stream) close_group(c);
        free_engine(e);
        free(c->members);
        free(c);
    }
    return st;
}
