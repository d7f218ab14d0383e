#include "parallel/comm_stream.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cuda.h"

enum { RING = 512, WAITS = 512, MARKS = 256 }; /* powers of two, since numbers are used modulo them */

#define MARK (UINT64_C(1) << 63)

static const uint64_t LOOK_NS = 10000000, PEERS_NS = 100000000;
#define PAUSE_NS (100 * LOOK_NS) /* after a longer interval the job was stopped: it does not count as waiting */

typedef struct {
    comm_call call;
    uint64_t step;
    cudaEvent_t begun, done;
} operation;

/* the computation waits for a collective */
typedef struct {
    cudaEvent_t begin, end;
} waiting;

struct comm_stream {
    comm *root;
    device *dev;
    const comm_watch *watch;
    void *library;
    cudaStream_t stream;
    cudaEvent_t marks[MARKS];
    uint64_t marked;
    operation ring[RING];
    waiting waits[WAITS];
    pthread_t thread;
    bool watched;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* under the lock */
    uint64_t queued, done, waits_queued, waits_done;
    operation meeting;
    const operation *called; /* the host is inside the library's call for it */
    uint64_t called_ns;
    uint64_t begun_ns; /* when the GPU began the oldest operation that is not complete, or 0 */
    uint64_t looked_ns, peers_ns;
    bool ending, broken, aborted;
    char message[1024];
};

static operation *operation_of(comm_stream *s, uint64_t ticket) { return &s->ring[ticket % RING]; }
static waiting *waiting_of(comm_stream *s, uint64_t number) { return &s->waits[number % WAITS]; }

/* --- under the lock --- */

static status error_of(const comm_stream *s) {
    return s->broken ? status_fail(STATUS_COMM, __FILE__, __LINE__, "%s", s->message) : STATUS_OK;
}

static void keep_error(comm_stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void keep_error(comm_stream *s, const char *format, ...) {
    va_list arguments;
    if (s->broken) return;
    va_start(arguments, format);
    vsnprintf(s->message, sizeof s->message, format, arguments);
    va_end(arguments);
    s->broken = true;
    __atomic_store_n(&s->root->broken, true, __ATOMIC_RELAXED);
}

static bool has_happened(comm_stream *s, cudaEvent_t e) {
    cudaError_t error = cudaEventQuery(e);
    if (error == cudaErrorNotReady) (void)cudaGetLastError(); /* not an error, but a later launch would report it */
    else if (error != cudaSuccess) keep_error(s, "%s: %s", s->dev->name, cudaGetErrorString(error));
    return error == cudaSuccess;
}

static void add_time(uint64_t *sum, cudaEvent_t begin, cudaEvent_t end) {
    float ms;
    if (cudaEventElapsedTime(&ms, begin, end) == cudaSuccess)
        __atomic_fetch_add(sum, (uint64_t)((double)ms * 1e6), __ATOMIC_RELAXED);
}

/* records what is complete */
static void drain(comm_stream *s) {
    comm_totals *totals = &s->root->totals;
    for (; !s->broken && s->done < s->queued; s->done++) {
        operation *o = operation_of(s, s->done + 1);
        if (!has_happened(s, o->done)) break;
        add_time(&totals->busy_ns, o->begun, o->done);
        s->begun_ns = 0;
    }
    for (; !s->broken && s->waits_done < s->waits_queued; s->waits_done++) {
        waiting *w = waiting_of(s, s->waits_done);
        if (!has_happened(s, w->end)) break;
        add_time(&totals->waited_ns, w->begin, w->end);
    }
}

/* --- the watchdog --- */

static bool find_dead(comm_stream *s, const operation *o) {
    const comm *host = s->root->host;
    const placement_rank *all = host->placement->all;
    for (int i = 0; i < o->call.group->ranks; i++) {
        int r = o->call.members[i];
        if (r == host->rank || !process_gone(&all[r].process, &all[host->rank].process)) continue;
        keep_error(s, "rank %d (%s, pid %ld) died; other ranks wait for it in %s %lu of step %lu", r,
                   all[r].process.host, all[r].process.pid, o->call.what, o->call.number, o->step);
        return true;
    }
    return false;
}

static void look_at(comm_stream *s, const operation *o, uint64_t since, uint64_t now) {
    double timeout_s = s->root->timeout_s;
    if (now - since > PEERS_NS && now - s->peers_ns > PEERS_NS) {
        s->peers_ns = now;
        if (find_dead(s, o)) return;
    }
    if ((double)(now - since) > timeout_s * 1e9)
        keep_error(s, "rank %d has waited %g s in %s %lu of step %lu for ranks that do not come", s->root->host->rank,
                   timeout_s, o->call.what, o->call.number, o->step);
}

static void look(comm_stream *s) {
    uint64_t now = meter_clock_ns(), since_last = now - s->looked_ns;
    s->looked_ns = now;
    if (since_last > PAUSE_NS) s->called_ns += since_last, s->begun_ns += s->begun_ns ? since_last : 0;
    /* The calls of CUDA and NCCL below may not return; so this check comes first. */
    if (s->called && now > s->called_ns) look_at(s, s->called, s->called_ns, now);
    if (!s->broken && s->begun_ns && now > s->begun_ns) look_at(s, operation_of(s, s->done + 1), s->begun_ns, now);
    if (s->broken) return;
    drain(s);
    const char *trouble = s->broken ? NULL : s->watch->trouble(s->library);
    const operation *oldest = s->called && s->done == s->queued ? s->called : operation_of(s, s->done + 1);
    if (trouble && (s->called || s->done < s->queued))
        keep_error(s, "rank %d: %s, in %s %lu of step %lu", s->root->host->rank, trouble, oldest->call.what,
                   oldest->call.number, oldest->step);
    else if (trouble) keep_error(s, "rank %d, step %lu: %s", s->root->host->rank, s->root->step, trouble);
    if (!s->broken && s->done < s->queued && !s->begun_ns && has_happened(s, oldest->begun)) s->begun_ns = now;
}

static struct timespec next_look(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += (long)LOOK_NS;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}

static void *watch_thread(void *stream) {
    comm_stream *s = stream;
    (void)cudaSetDevice(cuda_of(s->dev)->index);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct timespec until = next_look();
        if (!s->ending && !s->broken) pthread_cond_timedwait(&s->wake, &s->lock, &until);
        if (!s->broken) look(s);
        if (s->broken && !s->aborted) {
            pthread_mutex_unlock(&s->lock);
            s->watch->abort(s->library);
            pthread_mutex_lock(&s->lock);
            s->aborted = true;
        }
        if (s->ending) break;
        if (s->aborted) pthread_cond_wait(&s->wake, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* the main thread handles signals */
static status start_watching(comm_stream *s) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&s->thread, NULL, watch_thread, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) FAIL(COMM, "no thread to watch collectives: %s", strerror(error));
    s->watched = true;
    return STATUS_OK;
}

/* --- opening and closing --- */

static status open_events(comm_stream *s) {
    CUDA_TRY(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking));
    for (int i = 0; i < MARKS; i++) CUDA_TRY(cudaEventCreateWithFlags(&s->marks[i], cudaEventDisableTiming));
    for (int i = 0; i < RING; i++) {
        CUDA_TRY(cudaEventCreate(&s->ring[i].begun));
        CUDA_TRY(cudaEventCreate(&s->ring[i].done));
    }
    for (int i = 0; i < WAITS; i++) {
        CUDA_TRY(cudaEventCreate(&s->waits[i].begin));
        CUDA_TRY(cudaEventCreate(&s->waits[i].end));
    }
    return STATUS_OK;
}

static void destroy(cudaEvent_t e) {
    if (e) (void)cudaEventDestroy(e);
}

void comm_stream_close(comm_stream *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (s->watched) pthread_join(s->thread, NULL);
    if (s->stream) (void)cudaStreamDestroy(s->stream);
    for (int i = 0; i < MARKS; i++) destroy(s->marks[i]);
    for (int i = 0; i < RING; i++) destroy(s->ring[i].begun), destroy(s->ring[i].done);
    for (int i = 0; i < WAITS; i++) destroy(s->waits[i].begin), destroy(s->waits[i].end);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    free(s);
}

status comm_stream_open(comm_stream **opened, comm *root, device *dev, const comm_watch *watch, void *library) {
    status_code st = STATUS_OK;
    comm_stream *s = calloc(1, sizeof *s);
    *opened = NULL;
    if (!s) FAIL(MEM, "no memory for a stream of collectives");
    *s = (comm_stream){.root = root, .dev = dev, .watch = watch, .library = library, .looked_ns = meter_clock_ns()};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    TRY_DONE(open_events(s));
    TRY_DONE(start_watching(s));
    *opened = s;
done:
    if (st) comm_stream_close(s);
    return st;
}

cudaStream_t comm_stream_of(const comm_stream *s) { return s->stream; }

/* --- collectives --- */

bool comm_stream_broken(const comm_stream *s) { return __atomic_load_n(&s->root->broken, __ATOMIC_RELAXED); }

status comm_stream_break(comm_stream *s, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&s->lock);
    keep_error(s, "rank %d, step %lu: %s", s->root->host->rank, s->root->step, text);
    s->called = NULL;
    pthread_cond_signal(&s->wake);
    status_code st = error_of(s);
    pthread_mutex_unlock(&s->lock);
    return st;
}

status comm_stream_check(comm_stream *s) {
    pthread_mutex_lock(&s->lock);
    drain(s);
    status_code st = error_of(s);
    pthread_mutex_unlock(&s->lock);
    return st;
}

/* The host is a whole ring ahead of the GPU: it waits for the event that it will reuse. */
static status wait_for_room(comm_stream *s, cudaEvent_t oldest) {
    CUDA_TRY(cudaEventSynchronize(oldest));
    return comm_stream_check(s);
}

status comm_stream_begin(comm_stream *s, comm_call call, const comm_event *after) {
    uint64_t ticket = s->queued + 1; /* only this thread changes it */
    operation *o = operation_of(s, ticket);
    pthread_mutex_lock(&s->lock);
    status_code st = error_of(s);
    bool full = s->queued - s->done == RING;
    pthread_mutex_unlock(&s->lock);
    TRY(st);
    if (full) TRY(wait_for_room(s, o->done));
    if (after && after->ticket & MARK) CUDA_TRY(cudaStreamWaitEvent(s->stream, s->marks[after->ticket % MARKS], 0));
    CUDA_TRY(cudaEventRecord(o->begun, s->stream));
    pthread_mutex_lock(&s->lock);
    o->call = call;
    o->step = s->root->step;
    s->called = o;
    s->called_ns = meter_clock_ns();
    pthread_mutex_unlock(&s->lock);
    return STATUS_OK;
}

status comm_stream_end(comm_stream *s, comm_event *done) {
    uint64_t ticket = s->queued + 1;
    CUDA_TRY(cudaEventRecord(operation_of(s, ticket)->done, s->stream));
    pthread_mutex_lock(&s->lock);
    s->called = NULL;
    s->queued = ticket;
    status_code st = error_of(s);
    pthread_mutex_unlock(&s->lock);
    *done = (comm_event){.ticket = ticket};
    return st;
}

void comm_stream_meet(comm_stream *s, comm_call call) {
    pthread_mutex_lock(&s->lock);
    s->meeting = (operation){.call = call, .step = s->root->step};
    s->called = &s->meeting;
    s->called_ns = meter_clock_ns();
    pthread_mutex_unlock(&s->lock);
}

void comm_stream_met(comm_stream *s) {
    pthread_mutex_lock(&s->lock);
    s->called = NULL;
    pthread_mutex_unlock(&s->lock);
}

/* A mark's CUDA event may have been recorded again: then a wait for it waits for a later mark. */
status comm_stream_mark(comm_stream *s, comm_event *e) {
    uint64_t number = ++s->marked;
    CUDA_TRY(cudaEventRecord(s->marks[number % MARKS], cuda_stream(s->dev)));
    *e = (comm_event){.ticket = MARK | number};
    return STATUS_OK;
}

/* the GPU's clock measures how long the computation waits */
static status queue_waiting(comm_stream *s, waiting *w, cudaEvent_t done) {
    cudaStream_t compute = cuda_stream(s->dev);
    bool booked = s->root->clock;
    CUDA_TRY(cudaEventRecord(w->begin, compute));
    if (booked) TRY(s->dev->ops->span(s->dev, BOOK_COMMUNICATION, true));
    CUDA_TRY(cudaStreamWaitEvent(compute, done, 0));
    if (booked) TRY(s->dev->ops->span(s->dev, BOOK_COMMUNICATION, false));
    CUDA_TRY(cudaEventRecord(w->end, compute));
    return STATUS_OK;
}

status comm_stream_wait(comm_stream *s, const comm_event *e) {
    waiting *w = waiting_of(s, s->waits_queued);
    pthread_mutex_lock(&s->lock);
    status_code st = error_of(s);
    bool happened = e->ticket & MARK || e->ticket <= s->done, full = s->waits_queued - s->waits_done == WAITS;
    pthread_mutex_unlock(&s->lock);
    TRY(st);
    if (happened) return STATUS_OK;
    if (full) TRY(wait_for_room(s, w->end));
    TRY(queue_waiting(s, w, operation_of(s, e->ticket)->done));
    pthread_mutex_lock(&s->lock);
    s->waits_queued++;
    pthread_mutex_unlock(&s->lock);
    return STATUS_OK;
}

status comm_stream_finish(comm_stream *s, const comm_event *e) {
    pthread_mutex_lock(&s->lock);
    status_code st = error_of(s);
    bool happened = e->ticket & MARK || e->ticket <= s->done;
    pthread_mutex_unlock(&s->lock);
    TRY(st);
    if (!happened) CUDA_TRY(cudaEventSynchronize(operation_of(s, e->ticket)->done));
    return comm_stream_check(s);
}
