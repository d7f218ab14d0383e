/* What the files of the emulation share and no one else needs. */
#ifndef TALLY_SIMT_STATE_H
#define TALLY_SIMT_STATE_H

#include <atomic>
#include <cstdlib>

#include "simt_core.h"

#ifdef __SANITIZE_ADDRESS__
#define SIMT_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define SIMT_ASAN 0
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

namespace simt {

/* from the environment: README.md */
struct Options {
    enum { FORWARD, REVERSE, RANDOM } order = FORWARD;
    enum { EAGER, NEWEST_FIRST, ANY_FIRST } streams = EAGER;
    uint64_t seed = 1;
    int workers, multiprocessors, devices;
    size_t memory_bytes; /* of each device */
    bool guard, early_copies;
    Options();
};
extern Options options;

struct Grid {
    dim3 grid, block;
    size_t bytes, most_bytes; /* dynamic shared memory; all that a block may have */
    void (*body)(void *);
    void *arg;
    const char *name;
    uint64_t n_blocks, n_threads;
    unsigned id;
    std::atomic<uint64_t> next{0};
    std::atomic<int> failed{0}, users{0}; /* users: helpers that work on it */
};

inline uint64_t random_next(Worker &w) { /* xorshift */
    w.random ^= w.random << 13;
    w.random ^= w.random >> 7;
    return w.random ^= w.random << 17;
}

inline size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* simt_fiber.cc: runs all threads of the block that w describes; returns when all have exited, or one failed */
void run_threads(Worker &w);
inline void make_ready(Worker &w, Thread *t) { w.ready[w.ready_tail++ & (MAX_THREADS - 1)] = t; }
void block_thread(Worker &w); /* the running thread cannot go on: another does */

/* simt_warp.cc */
void thread_exit(Worker &w, Thread *t);

/* simt_grid.cc: every block; returns whether none failed */
bool run_grid(Grid &g);

/* simt_host.cc */
int current_device();
cudaError_t failed(cudaError_t e); /* what cudaGetLastError will say; returns e */
cudaError_t sticky();              /* the error of a kernel that failed: every later call's */
void set_sticky(cudaError_t e);
size_t most_shared_bytes(); /* of a block */
bool shared_memory_allowed(const void *kernel, size_t bytes);

/* simt_stream.cc */
void enqueue_and_wait(cudaStream_t s, void (*run)(void *), void *arg, void (*del)(void *));
template <class F> inline void enqueue_and_wait(cudaStream_t s, F f) {
    enqueue_and_wait(
        s, [](void *p) { (*(F *)p)(); }, new F(f), [](void *p) { delete (F *)p; });
}
void synchronize_device(int device, bool nonblocking_too);

/* simt_memory.cc: SIMT_GUARD: device memory can be touched only while the device runs */
struct DeviceRuns {
    DeviceRuns();
    ~DeviceRuns();
};

} // namespace simt

#endif
