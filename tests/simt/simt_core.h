/* The emulation's heart: one fiber per CUDA thread, one OS thread per running block. What the device functions of
 * simt_device.h, the PTX wrappers' emulated bodies and the library stand-ins are written with. */
#ifndef TALLY_SIMT_CORE_H
#define TALLY_SIMT_CORE_H

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "simt_rt.h"
#include "simt_types.h"

/* the caller's place in the source, for messages: last parameters of what may wait */
#define SIMT_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace simt {

enum {
    MAX_THREADS = 1024,
    MAX_SLOTS = 17,
    MAX_SHARED = 64,
    ARENA_BYTES = 256 << 10,
    STACK_BYTES = 192 << 10,
    PAGE_BYTES = 4096,
    SHARED_OPTIN_BYTES = 227 << 10,
    SHARED_DEFAULT_BYTES = 48 << 10
};

/* One lane's part in a warp operation: what fn reads and writes, as fn likes. */
struct LaneOp {
    uint64_t in, out;
    int a;
    void *p, *q, *r;
};
typedef void (*WarpFn)(LaneOp **lane, unsigned mask);

/* a warp operation that gathers its lanes */
struct Slot {
    unsigned mask, arrived;
    WarpFn fn;
    LaneOp *op[32];
};

struct Warp {
    unsigned live, epoch; /* epoch: whole-warp synchronisations so far, for racecheck */
    int id, pending;      /* pending: slots in use */
    Slot slot[MAX_SLOTS];
};

/* __syncthreads: the block's one barrier */
struct Barrier {
    int arrived;
    struct Thread *waiters, **tail;
    const char *file;
    int line;
    int count, any, all, result[3]; /* of the predicates */
};

/* a cp.async on its way */
struct Copy {
    void *dst;
    const void *src;
    int bytes, src_bytes;
    unsigned group;
};

enum ThreadState { UNSTARTED, STARTED, EXITED };

struct Thread {
    uint3 tid;
    int lin, lane;
    Warp *warp;
    void *sp;
    struct Stack *stack;
    Thread *next; /* that waits at the same barrier */
    ThreadState state;
    const char *what, *file; /* what it waits for, and where */
    int line;
    Copy *copies;
    int n_copies, max_copies;
    unsigned copy_group;
};

struct Stack {
    char *base, *top;
    Stack *next, *all;
};

struct SharedArray {
    const void *tag;
    void *p;
    size_t bytes;
};

/* An OS thread that runs blocks, and the block that it runs. */
struct Worker {
    Thread th[MAX_THREADS];
    Warp warp[MAX_THREADS / 32];
    Barrier barrier;
    int order[MAX_THREADS];              /* in which threads start */
    Thread *ready[MAX_THREADS];          /* a ring of those that can go on */
    unsigned ready_head, ready_tail;     /* free-running */
    int n, started, live, epoch, failed; /* threads of the block; epoch: barriers passed, for racecheck */
    unsigned spins;                      /* calls of yield */
    int favour;                          /* random order: the warp that runs as far as it can, or -1 */
    uint64_t random;                     /* state of the generator */
    SharedArray shared[MAX_SHARED];
    int n_shared;
    size_t dynamic_bytes, shared_bytes, arena_top;
    unsigned char *arena;    /* the block's shared memory; what is dynamic comes first */
    void *main_sp;           /* the worker's own stack */
    const void *main_bottom; /* the same, for ASan */
    size_t main_bytes;
    Stack *free_stacks, *all_stacks, *starting;
    char *region; /* that the stacks are cut from */
    int n_stacks;
    struct Grid *grid; /* null between blocks */
    void (*body)(void *);
    void *arg;
    const char *kernel;
    dim3 last_dim;
    uint64_t block_id;
    unsigned launch_id;
};

struct BlockIndex {
    uint3 bid;
    dim3 bdim, gdim;
};

/* __thread, not thread_local: read at every threadIdx, without a call that asks whether it is initialised */
#define SIMT_THREAD_LOCAL extern __thread __attribute__((tls_model("initial-exec")))
SIMT_THREAD_LOCAL Thread *self;
SIMT_THREAD_LOCAL Worker *wk;
SIMT_THREAD_LOCAL BlockIndex bx;

/* Ends the kernel with a message that names kernel, block and thread; the launch's error is cudaErrorLaunchFailure. */
[[noreturn]] void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* lets other threads run: inside a spin loop */
void yield();

void barrier(const char *file, int line, int predicate = 0, int *result = nullptr);
void warp_wait(const char *what, const char *file, int line);
void warp_wake(Warp &w, unsigned lanes);

/* the block's array of this tag, made at the first call, filled with NaN */
void *shared_alloc(const void *tag, size_t bytes, size_t align);

/* cp.async: the target is NaN until the wait, the worst that the hardware may do (SIMT_CPASYNC=early: filled at once) */
void cp_async(void *dst, const void *src, int bytes, int src_bytes);
void cp_commit();
void cp_wait(int groups_left);

/* set by racecheck.cc: accesses made by wrappers on behalf of a kernel */
extern void (*note)(const void *p, size_t bytes, int write);
/* bank conflicts seen by ldmatrix: not wrong, but slow; racecheck fails where there are any */
extern long ldmatrix_conflicts;

/* All lanes in `mask` (that still live) meet here; the last to arrive runs fn for the whole warp. */
inline void warp_op(unsigned mask, LaneOp &op, WarpFn fn, const char *what, const char *file, int line) {
    Thread *me = self;
    Warp &w = *me->warp;
    if (!(mask >> me->lane & 1))
        fail("%s:%d: %s: calling lane %d is not in mask %08x", file, line, what, me->lane, mask);
    Slot *s = &w.slot[0];
    if (mask != ~0u) { /* the slot in use for this mask, else a free one */
        Slot *unused = nullptr;
        for (s = &w.slot[1]; s < w.slot + MAX_SLOTS && !(s->arrived && s->mask == mask); s++)
            if (!s->arrived && !unused) unused = s;
        if (s == w.slot + MAX_SLOTS && !(s = unused)) fail("more masks at once than the emulation has slots for");
    }
    if (s->arrived && s->fn != fn)
        fail("%s:%d: %s: other lanes of warp %d are in a different warp operation", file, line, what, w.id);
    if (!s->arrived) {
        s->mask = mask;
        s->fn = fn;
        w.pending++;
    }
    s->op[me->lane] = &op;
    s->arrived |= 1u << me->lane;
    if (s->arrived != (mask & w.live)) return warp_wait(what, file, line);
    unsigned lanes = s->arrived;
    s->arrived = 0;
    w.pending--;
    fn(s->op, lanes);
    warp_wake(w, lanes & ~(1u << me->lane));
}

/* --- from the host --- */

cudaError_t launch_impl(const char *name, const void *fn, dim3 grid, dim3 block, size_t bytes, cudaStream_t s,
                        void (*body)(void *), void *arg, void (*del)(void *));

template <class... P, class... A>
inline cudaError_t launch(const char *name, dim3 grid, dim3 block, size_t bytes, cudaStream_t s, void (*kernel)(P...),
                          A... a) {
    auto f = [=] { kernel(a...); }; /* arguments are copied now, as in a real launch */
    typedef decltype(f) F;
    return launch_impl(
        name, (const void *)kernel, grid, block, bytes, s, [](void *p) { (*(F *)p)(); }, new F(f),
        [](void *p) { delete (F *)p; });
}

/* host code that runs in its turn on the stream: for stand-ins of libraries */
void enqueue(cudaStream_t s, void (*run)(void *), void *arg, void (*del)(void *));
template <class F> inline void enqueue(cudaStream_t s, F f) {
    enqueue(
        s, [](void *p) { (*(F *)p)(); }, new F(f), [](void *p) { delete (F *)p; });
}

/* whether [p, p + n) lies in one allocation of device memory, and in which */
bool is_device_ptr(const void *p, size_t n, uintptr_t *base = nullptr, size_t *size = nullptr);

} // namespace simt

#endif
