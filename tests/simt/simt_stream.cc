/* Streams and events. A stream is a queue of closures: run at once, or with SIMT_LAZY only when something waits for them.
 * Any thread may enqueue, query and wait; one lock guards all queues, and is never held while a closure runs, since a
 * collective waits for other ranks, which may be threads of this process. */
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "simt_state.h"

/* one cudaEventRecord: who waits for it keeps it, so that an event may be recorded anew, and destroyed */
struct Record {
    CUstream_st *stream; /* valid until done */
    bool done;
    double seconds;
};
typedef std::shared_ptr<Record> RecordPtr;

/* in this order: waits, runs, is recorded */
struct Op {
    RecordPtr wait;
    std::function<void()> run;
    RecordPtr record;
};

struct CUstream_st {
    std::deque<Op> queue;
    bool running, nonblocking;
    int device;
    std::thread::id owner;
    int helpers; /* threads that run a closure for one that only looks */
};

struct CUevent_st {
    RecordPtr last;
    bool timed;
    int device;
};

namespace simt {

typedef std::unique_lock<std::mutex> Lock;

/* made once and never destroyed: threads may still run at exit */
static std::mutex &queues = *new std::mutex;
static std::condition_variable &changed = *new std::condition_variable;
static std::vector<CUstream_st *> &streams = *new std::vector<CUstream_st *>;

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static void finish(Lock &l, const RecordPtr &r);

enum Step { RAN, BUSY, EMPTY };

/* Runs the stream's oldest closure. BUSY: another thread is at one. */
static Step step(Lock &l, CUstream_st *s) {
    if (s->running) return BUSY;
    if (s->queue.empty()) return EMPTY;
    Op op = std::move(s->queue.front());
    s->queue.pop_front();
    s->running = true;
    if (op.wait) finish(l, op.wait);
    l.unlock();
    if (op.run) {
        DeviceRuns runs;
        op.run();
    }
    op.run = nullptr;
    double seconds = now();
    l.lock();
    s->running = false;
    if (op.record) {
        op.record->seconds = seconds;
        op.record->done = true;
    }
    changed.notify_all();
    return RAN;
}

static void finish(Lock &l, const RecordPtr &r) {
    while (!r->done) {
        Step did = step(l, r->stream);
        if (did == BUSY) changed.wait(l);
        if (did == EMPTY) fail("an event was recorded on a stream that has lost it");
    }
}

/* Someone polls: the stream goes on by a closure. One that blocks, as a collective does whose other ranks are dead, must not
 * hold up a thread that watches over the stream's own. */
static void look(Lock &l, CUstream_st *s) {
    if (s->owner == std::this_thread::get_id()) {
        (void)step(l, s);
        return;
    }
    if (s->helpers) return;
    s->helpers++;
    std::thread([s] {
        Lock mine(queues);
        (void)step(mine, s);
        s->helpers--;
        changed.notify_all();
    }).detach();
}

static RecordPtr push_record(CUstream_st *s) {
    RecordPtr r = std::make_shared<Record>(Record{s, false, 0});
    s->queue.push_back({nullptr, nullptr, r});
    return r;
}

/* all that is queued there now */
static void finish(Lock &l, CUstream_st *s) { finish(l, push_record(s)); }

/* Streams without an order between them: SIMT_LAZY=1 runs the newest first, 2 a closure of any. */
static void finish_device(Lock &l, int device, bool nonblocking_too) {
    static uint64_t state = options.seed;
    for (;;) {
        std::vector<CUstream_st *> left;
        for (CUstream_st *s : streams)
            if (s->device == device && (nonblocking_too || !s->nonblocking) && (s->running || !s->queue.empty()))
                left.push_back(s);
        if (left.empty()) return;
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t pick = options.streams == Options::ANY_FIRST ? (state >> 33) % left.size() : left.size() - 1;
        if (step(l, left[pick]) == BUSY) changed.wait(l);
    }
}

void synchronize_device(int device, bool nonblocking_too) {
    Lock l(queues);
    finish_device(l, device, nonblocking_too);
}

/* Null is the legacy stream, which waits for all blocking streams, and they for it. */
static void submit(CUstream_st *s, Op op) {
    static CUstream_st &legacy = *new CUstream_st{};
    Lock l(queues);
    if (!s) {
        finish_device(l, current_device(), false);
        s = &legacy;
    }
    s->queue.push_back(std::move(op));
    if (options.streams == Options::EAGER || s == &legacy) finish(l, s);
}

void enqueue(cudaStream_t s, void (*run)(void *), void *arg, void (*del)(void *)) {
    std::shared_ptr<void> own(arg, del);
    submit(s, {nullptr, [=] { run(own.get()); }, nullptr});
}

void enqueue_and_wait(cudaStream_t s, void (*run)(void *), void *arg, void (*del)(void *)) {
    enqueue(s, run, arg, del);
    (void)cudaStreamSynchronize(s);
}

/* --- launches --- */

static const char *refusal(const void *fn, dim3 grid, dim3 block, size_t bytes, cudaStream_t s, cudaError_t *error) {
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    *error = cudaErrorInvalidConfiguration;
    if (!threads || threads > MAX_THREADS || block.z > 64) return "block dimensions";
    if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        return "grid dimensions";
    *error = cudaErrorInvalidValue;
    if (!shared_memory_allowed(fn, bytes)) return "dynamic shared memory over the limit (cudaFuncSetAttribute?)";
    *error = cudaErrorInvalidResourceHandle;
    if (s && s->device != current_device()) return "the stream is another device's (cudaSetDevice in this thread?)";
    return nullptr;
}

cudaError_t launch_impl(const char *name, const void *fn, dim3 grid, dim3 block, size_t bytes, cudaStream_t s,
                        void (*body)(void *), void *arg, void (*del)(void *)) {
    static std::atomic<unsigned> launches;
    std::shared_ptr<void> own(arg, del);
    cudaError_t error;
    if (const char *why = refusal(fn, grid, block, bytes, s, &error)) {
        fprintf(stderr, "simt: launch of %s refused: %s\n", name, why);
        return failed(error);
    }
    const size_t most = most_shared_bytes();
    auto run = [=] {
        Grid g;
        g.grid = grid;
        g.block = block;
        g.bytes = bytes;
        g.most_bytes = most;
        g.body = body;
        g.arg = own.get();
        g.name = name;
        g.n_blocks = (uint64_t)grid.x * grid.y * grid.z;
        g.n_threads = g.n_blocks * block.x * block.y * block.z;
        g.id = ++launches;
        if (!run_grid(g)) set_sticky(cudaErrorLaunchFailure);
    };
    submit(s, {nullptr, run, nullptr});
    return cudaSuccess;
}

} // namespace simt

using namespace simt;

extern "C" {

/* --- streams --- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) {
    *s = new CUstream_st{{}, false, (flags & cudaStreamNonBlocking) != 0, current_device(), std::this_thread::get_id(),
                         0};
    Lock l(queues);
    streams.push_back(*s);
    return sticky();
}

cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithFlags(s, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t s) {
    {
        Lock l(queues);
        auto at = std::find(streams.begin(), streams.end(), s);
        if (at == streams.end()) return failed(cudaErrorInvalidResourceHandle);
        finish(l, s);
        while (s->helpers) changed.wait(l);
        streams.erase(std::find(streams.begin(), streams.end(), s));
    }
    delete s;
    return sticky();
}

cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    Lock l(queues);
    if (s) finish(l, s);
    else finish_device(l, current_device(), false);
    return sticky();
}

/* A query runs one closure, so that who polls gets there. */
cudaError_t cudaStreamQuery(cudaStream_t s) {
    Lock l(queues);
    if (s && step(l, s) != EMPTY) return failed(cudaErrorNotReady);
    return sticky();
}

cudaError_t cudaDeviceSynchronize(void) {
    synchronize_device(current_device(), true);
    return sticky();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
    RecordPtr r;
    {
        Lock l(queues);
        r = e->last;
    }
    if (r) submit(s, {r, nullptr, nullptr});
    return sticky();
}

/* --- events --- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags) {
    *e = new CUevent_st{nullptr, !(flags & cudaEventDisableTiming), current_device()};
    return sticky();
}

cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t e) {
    delete e;
    return sticky();
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
    if (e->device != (s ? s->device : current_device())) return failed(cudaErrorInvalidResourceHandle);
    RecordPtr r = std::make_shared<Record>(Record{s, false, 0});
    {
        Lock l(queues);
        e->last = r;
    }
    submit(s, {nullptr, nullptr, r});
    return sticky();
}

cudaError_t cudaEventSynchronize(cudaEvent_t e) {
    Lock l(queues);
    RecordPtr r = e->last;
    if (r) finish(l, r);
    return sticky();
}

cudaError_t cudaEventQuery(cudaEvent_t e) {
    Lock l(queues);
    RecordPtr r = e->last;
    if (!r || r->done) return sticky();
    look(l, r->stream);
    return failed(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end) {
    Lock l(queues);
    RecordPtr a = begin->last, b = end->last;
    if (!a || !b || !begin->timed || !end->timed) return failed(cudaErrorInvalidResourceHandle);
    if (!a->done || !b->done) return failed(cudaErrorNotReady);
    *ms = (float)((b->seconds - a->seconds) * 1e3);
    return sticky();
}
}
