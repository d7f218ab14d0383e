/* Waiting for others: warp operations, the block's barrier; shared memory; cp.async. */
#include "simt_state.h"

namespace simt {

void warp_wait(const char *what, const char *file, int line) {
    Thread *me = self;
    me->what = what;
    me->file = file;
    me->line = line;
    block_thread(*wk);
}

void warp_wake(Warp &warp, unsigned lanes) {
    Worker &w = *wk;
    Thread *first = &w.th[warp.id * 32];
    for (; lanes; lanes &= lanes - 1) make_ready(w, first + __builtin_ctz(lanes));
}

/* --- __syncthreads --- */

static void release(Worker &w, Barrier &b) {
    b.result[0] = b.count;
    b.result[1] = b.any;
    b.result[2] = b.all;
    b.arrived = 0;
    w.epoch++;
    Thread *t = b.waiters;
    b.waiters = nullptr;
    b.tail = &b.waiters;
    for (; t; t = t->next) make_ready(w, t);
}

void barrier(const char *file, int line, int predicate, int *result) {
    Worker &w = *wk;
    Barrier &b = w.barrier;
    Thread *me = self;
    if (!b.arrived) {
        b.file = file;
        b.line = line;
        b.count = b.any = 0;
        b.all = 1;
        b.tail = &b.waiters;
    } else if (b.line != line || strcmp(b.file, file)) {
        fail("divergent barrier: this thread is at %s:%d, others at %s:%d", file, line, b.file, b.line);
    }
    b.arrived++;
    b.count += predicate;
    b.any |= predicate;
    b.all &= predicate;
    if (b.arrived == w.live) {
        release(w, b);
    } else {
        me->what = "__syncthreads";
        me->file = file;
        me->line = line;
        me->next = nullptr;
        *b.tail = me;
        b.tail = &me->next;
        block_thread(w);
    }
    if (result) memcpy(result, b.result, sizeof b.result);
}

/* A thread that exits no longer counts where others wait. */
void thread_exit(Worker &w, Thread *t) {
    Warp &warp = *t->warp;
    t->state = EXITED;
    t->n_copies = 0;
    w.live--;
    warp.live &= ~(1u << t->lane);
    for (Slot *s = warp.slot; warp.pending && s < warp.slot + MAX_SLOTS; s++) {
        if (!s->arrived || s->arrived != (s->mask & warp.live)) continue;
        unsigned lanes = s->arrived;
        s->arrived = 0;
        warp.pending--;
        s->fn(s->op, lanes);
        warp_wake(warp, lanes);
    }
    if (w.barrier.arrived && w.barrier.arrived == w.live) release(w, w.barrier);
}

/* --- shared memory --- */

void *shared_alloc(const void *tag, size_t bytes, size_t align) {
    enum { RED_ZONE = 32 };
    Worker &w = *wk;
    for (int i = 0; i < w.n_shared; i++)
        if (w.shared[i].tag == tag) return w.shared[i].p;
    size_t at = round_up(w.arena_top + RED_ZONE, align);
    if (at % (2 * align) == 0) at += align; /* no better than was asked for: wider accesses are noticed */
    w.shared_bytes += bytes;
    if (w.shared_bytes > SHARED_DEFAULT_BYTES && w.shared_bytes - w.dynamic_bytes > SHARED_DEFAULT_BYTES)
        fail("static shared memory over %d bytes", SHARED_DEFAULT_BYTES);
    if (w.n_shared == MAX_SHARED || w.shared_bytes > w.grid->most_bytes || at + bytes + RED_ZONE > ARENA_BYTES)
        fail("shared memory over %zu bytes", w.grid->most_bytes);
    unsigned char *p = w.arena + at;
    w.shared[w.n_shared++] = {tag, p, bytes};
    w.arena_top = at + bytes;
    ASAN_UNPOISON_MEMORY_REGION(p, bytes);
    memset(p, 0xff, bytes);
    return p;
}

/* --- cp.async --- */

static void deliver(const Copy &c) {
    if (note) {
        note(c.src, (size_t)c.src_bytes, 0);
        note(c.dst, (size_t)c.bytes, 1);
    }
    memcpy(c.dst, c.src, (size_t)c.src_bytes);
    memset((char *)c.dst + c.src_bytes, 0, (size_t)(c.bytes - c.src_bytes));
}

void cp_async(void *dst, const void *src, int bytes, int src_bytes) {
    Thread &t = *self;
    if (((uintptr_t)dst | (src_bytes ? (uintptr_t)src : 0)) & (unsigned)(bytes - 1))
        fail("misaligned cp.async of %d bytes: %p <- %p", bytes, dst, src);
    Copy c = {dst, src, bytes, src_bytes, t.copy_group};
    if (options.early_copies) return deliver(c);
    if (note) note(dst, (size_t)bytes, 1);
    memset(dst, 0xff, (size_t)bytes);
    if (t.n_copies == t.max_copies) {
        t.max_copies = t.max_copies * 2 + 16;
        t.copies = (Copy *)realloc(t.copies, (size_t)t.max_copies * sizeof(Copy));
        if (!t.copies) abort();
    }
    t.copies[t.n_copies++] = c;
}

void cp_commit() { self->copy_group++; }

void cp_wait(int groups_left) {
    Thread &t = *self;
    int kept = 0;
    for (int i = 0; i < t.n_copies; i++) {
        if ((int)(t.copy_group - t.copies[i].group) > groups_left) deliver(t.copies[i]);
        else t.copies[kept++] = t.copies[i];
    }
    t.n_copies = kept;
}

} // namespace simt
