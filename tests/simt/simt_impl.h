// simt_impl.h - scheduler and host runtime of simt.h; compiled once.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define SIMT_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define SIMT_ASAN 0
#define __asan_poison_memory_region(p, n) ((void)0)
#define __asan_unpoison_memory_region(p, n) ((void)0)
#endif

// ---------------------------------------------------------------- context switch: callee-saved registers only
extern "C" void simt_switch(void **save, void *load);
#if defined(__x86_64__)
asm(".text\n.globl simt_switch\n.type simt_switch,@function\nsimt_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\nmov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\npop %rcx\njmp *%rcx\n.size simt_switch,.-simt_switch\n");
#elif defined(__aarch64__)
asm(".text\n.globl simt_switch\n.type simt_switch,%function\nsimt_switch:\n"
    "stp x29,x30,[sp,#-160]!\nstp x19,x20,[sp,#16]\nstp x21,x22,[sp,#32]\nstp x23,x24,[sp,#48]\nstp x25,x26,[sp,#64]\n"
    "stp x27,x28,[sp,#80]\nstp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\nstp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\n"
    "mov x9,sp\nstr x9,[x0]\nmov sp,x1\nldp x19,x20,[sp,#16]\nldp x21,x22,[sp,#32]\nldp x23,x24,[sp,#48]\nldp x25,x26,[sp,#64]\n"
    "ldp x27,x28,[sp,#80]\nldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\nldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\nldp x29,x30,[sp],#160\nret\n");
#else
#error "simt: add a context switch for this processor"
#endif

namespace simt {
thread_local Thread *self;
thread_local Worker *wk;
thread_local BlockIdx bx;
long ldmatrix_conflicts;
extern "C" long simt_ldmatrix_conflicts() { return ldmatrix_conflicts; }
void (*note)(const void *, size_t, int);
static int env_int(const char *n, int d) { const char *s = getenv(n); return s ? atoi(s) : d; }
static struct Opt {
  int mode = 0, workers, lazy, guard, stats, early, abort_; uint64_t seed = 1;
  Opt() {
    const char *o = getenv("SIMT_ORDER");
    if (o && !strncmp(o, "rev", 3)) mode = 1;
    if (o && !strncmp(o, "rand", 4)) { mode = 2; if (o[4] == ':') seed = strtoull(o + 5, 0, 0); }
    workers = env_int("SIMT_WORKERS", (int)std::thread::hardware_concurrency()); lazy = env_int("SIMT_LAZY", 0);
    guard = env_int("SIMT_GUARD", 0); stats = env_int("SIMT_STATS", 0); abort_ = env_int("SIMT_ABORT", 0);
    const char *c = getenv("SIMT_CPASYNC"); early = c && !strcmp(c, "early");
  }
} opt;
struct Grid {
  dim3 g, b; size_t smem; void (*body)(void *); void *arg; const char *name; uint64_t nblocks, threads; unsigned id; int coop;
  std::atomic<uint64_t> next; std::atomic<int> failed, users; pthread_barrier_t bar;
};
static inline uint64_t rnd(Worker &w) { w.rng ^= w.rng << 13; w.rng ^= w.rng >> 7; return w.rng ^= w.rng << 17; }

// ---------------------------------------------------------------- fibers
static Stack *get_stack(Worker &w) {
  Stack *s = w.stacks;
  if (s) { w.stacks = s->next; return s; }
  if (!w.region) {                                               // all of a worker's stacks, reserved at once
    w.region = (char *)mmap(0, (size_t)MAXT * (STACK + 4096), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w.region == MAP_FAILED) { perror("simt: stacks"); abort(); }
  }
  char *m = w.region + (size_t)w.nstacks * (STACK + 4096);
  mprotect(m, 4096, PROT_NONE);                                  // kernel stack overflow faults instead of corrupting
  s = new Stack; s->all = w.all; w.all = s; s->base = m + 4096;
  s->top = s->base + STACK - (w.nstacks++ * 320 & 0xfc0);        // spread over cache sets
  return s;
}
static void stack_main();
static void *fresh_sp(Stack *s) {
#if defined(__x86_64__)
  void **p = (void **)((uintptr_t)s->top & ~15ul); *--p = 0; *--p = (void *)stack_main; p -= 6;
#else
  void **p = (void **)((uintptr_t)s->top & ~15ul) - 20; memset(p, 0, 160); p[1] = (void *)stack_main;
#endif
  return p;
}
// leave the running context (saved in *save) for another; to == null: the worker's own stack
static inline void go(Worker &w, void **save, void *sp, Stack *to, bool dying = false) {
  w.switches++;
#if SIMT_ASAN
  void *fake = nullptr;
  __sanitizer_start_switch_fiber(dying ? nullptr : &fake, to ? to->base : w.main_bottom, to ? STACK : w.main_size);
  simt_switch(save, sp);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
  (void)to; (void)dying; simt_switch(save, sp);
#endif
}
static inline void push(Worker &w, Thread *t) { w.ready[w.rtail++ & (MAXT - 1)] = t; }
static inline Thread *pop(Worker &w) {
  unsigned i = w.rhead & (MAXT - 1);
  if (opt.mode == 2) {                                           // half the blocks: any thread; other half: one warp as far as it goes
    unsigned n = w.rtail - w.rhead, k = rnd(w) % n;
    if (w.favour >= 0 && rnd(w) & 511) for (unsigned j = 0; j < n; j++) if (w.ready[(w.rhead + j) & (MAXT - 1)]->warp->id == w.favour) { k = j; break; }
    std::swap(w.ready[i], w.ready[(w.rhead + k) & (MAXT - 1)]);
    if (w.favour >= 0) w.favour = w.ready[i]->warp->id;
  }
  if (opt.mode == 1) { w.rtail--; return w.ready[w.rtail & (MAXT - 1)]; }
  w.rhead++; return w.ready[i];
}
static inline bool prefer_ready(Worker &w) {
  return w.rhead != w.rtail && (w.next == w.n || opt.mode != 2 || rnd(w) & 64);
}
[[noreturn]] static void deadlock(Worker &w);
static void thread_exit(Worker &w, Thread *t);
static void stack_main() {
  Worker &w = *wk; Stack *mine = w.starting; void *dead;
#if SIMT_ASAN
  const void *from; size_t from_n;                               // first switch on this OS thread: learn its own stack
  __sanitizer_finish_switch_fiber(nullptr, &from, &from_n);
  if (!w.main_bottom) { w.main_bottom = from; w.main_size = from_n; }
#endif
  while (w.next < w.n && !prefer_ready(w)) {                     // run unstarted threads one after another on this stack
    Thread *t = self = &w.th[w.order[w.next++]];
    t->stack = mine; t->state = 1;
    w.body(w.arg);                                               // may block, and resume here later
    thread_exit(w, t);
  }
  mine->next = w.stacks; w.stacks = mine;
  if (w.rhead != w.rtail) { self = pop(w); go(w, &dead, self->sp, self->stack, true); }
  else if (w.live == 0) go(w, &dead, w.main_sp, nullptr, true);
  deadlock(w);
}
static void start_stack(Worker &w, void **save) { w.starting = get_stack(w); go(w, save, fresh_sp(w.starting), w.starting); }
static void block(Worker &w) {                                   // self cannot continue: run someone else
  Thread *me = self;
  if (prefer_ready(w)) { Thread *t = self = pop(w); if (t != me) go(w, &me->sp, t->sp, t->stack); }
  else if (w.next < w.n) start_stack(w, &me->sp);
  else deadlock(w);
}
void yield() {
  Worker &w = *wk; Thread *me = self;
  if (++w.spins > 1000000u && !w.grid->coop) fail("a spin loop waits for ever (blocks of an ordinary launch run one after another)");
  if (w.rhead == w.rtail && w.next == w.n) { std::this_thread::yield(); return; }
  me->what = "spin"; me->file = ""; me->line = 0;
  if (opt.mode == 1) w.ready[--w.rhead & (MAXT - 1)] = me; else push(w, me);   // behind all others, or a LIFO schedule starves
  if (w.next < w.n) start_stack(w, &me->sp); else block(w);
}
void fail(const char *fmt, ...) {
  char s[1024]; va_list ap; va_start(ap, fmt); vsnprintf(s, sizeof s, fmt, ap); va_end(ap);
  if (!wk || !wk->grid) { fprintf(stderr, "simt: %s\n", s); abort(); }
  Worker &w = *wk;
  fprintf(stderr, "simt: error in %s, block (%u,%u,%u), thread (%u,%u,%u): %s\n", w.kernel, bx.bid.x, bx.bid.y, bx.bid.z,
          self->tid.x, self->tid.y, self->tid.z, s);
  if (opt.abort_ || w.grid->coop) abort();
  w.failed = 1; w.grid->failed = 1;
  void *dead; go(w, &dead, w.main_sp, nullptr, true);            // the block's other fibers are abandoned
  abort();
}
static void deadlock(Worker &w) {
  std::map<std::string, std::pair<int, int>> where; int done = 0;
  for (int i = 0; i < w.n; i++) {
    Thread &t = w.th[i];
    if (t.state == 2) { done++; continue; }
    auto &e = where[std::string(t.what ? t.what : "?") + " at " + (t.file ? t.file : "?") + ":" + std::to_string(t.line)];
    if (!e.first++) e.second = i;
  }
  std::string s = "deadlock: ";
  for (auto &e : where) s += std::to_string(e.second.first) + " threads (first: " + std::to_string(e.second.second) + ") wait in " + e.first + "; ";
  fail("%s%d exited", s.c_str(), done);
}

// ---------------------------------------------------------------- warps and barriers
void warp_wait(Warp &, Slot &, const char *what, const char *file, int line) {
  Thread *me = self; me->what = what; me->file = file; me->line = line;
  block(*wk);
}
void warp_wake(Warp &wp, unsigned lanes) {
  Worker &w = *wk; Thread *base = &w.th[wp.id * 32];
  for (; lanes; lanes &= lanes - 1) push(w, base + __builtin_ctz(lanes));
}
static void bar_release(Worker &w, Bar &b) {
  for (int i = 0; i < 3; i++) b.result[i] = b.acc[i];
  b.arrived = 0; w.epoch++;
  Thread *t = b.waiters; b.waiters = nullptr; b.tail = &b.waiters;
  for (; t; t = t->next) push(w, t);
}
static void bar_enter(Worker &w, int id, int nthreads, const char *file, int line, int pred) {
  Bar &b = w.bar[id];
  if (!b.arrived) { b.file = file; b.line = line; b.expect = nthreads; b.acc[0] = b.acc[1] = 0; b.acc[2] = 1; b.tail = &b.waiters; }
  else if (b.expect != nthreads || (!nthreads && line && (b.line != line || (b.file != file && strcmp(b.file, file)))))
    fail("divergent barrier %d: this thread is at %s:%d, others at %s:%d", id, file, line, b.file, b.line);
  b.arrived++; b.acc[0] += pred; b.acc[1] |= pred; b.acc[2] &= pred;
}
void bar_sync(int id, int nthreads, const char *file, int line, int pred, int *out) {
  Worker &w = *wk; Bar &b = w.bar[id]; Thread *me = self;
  bar_enter(w, id, nthreads, file, line, pred);
  if (b.arrived == (nthreads ? nthreads : w.live)) bar_release(w, b);
  else {
    me->what = id ? "named barrier" : "__syncthreads"; me->file = file; me->line = line;
    me->next = nullptr; *b.tail = me; b.tail = &me->next;
    block(w);
  }
  if (out) memcpy(out, b.result, sizeof b.result);
}
void bar_arrive(int id, int nthreads) {
  Worker &w = *wk; Bar &b = w.bar[id];
  bar_enter(w, id, nthreads, "bar.arrive", 0, 0);
  if (b.arrived == nthreads) bar_release(w, b);
}
void grid_sync(const char *file, int line) {
  if (!wk->grid->coop) fail("%s:%d: grid_sync outside a cooperative launch", file, line);
  bar_sync(0, 0, file, line);
  if (self->lin == 0) pthread_barrier_wait(&wk->grid->bar);
  bar_sync(0, 0, file, line);
}
static void thread_exit(Worker &w, Thread *t) {
  Warp &wp = *t->warp;
  t->state = 2; t->ncp = 0; w.live--; wp.live &= ~(1u << t->lane);
  for (Slot *s = wp.slot; wp.pending && s < wp.slot + NSLOT; s++)   // a lane that exits no longer counts
    if (s->arrived && s->arrived == (s->mask & wp.live)) { unsigned m = s->arrived; s->arrived = 0; wp.pending--; s->fn(s->op, m); warp_wake(wp, m); }
  Bar &b = w.bar[0];
  if (b.arrived && !b.expect && b.arrived == w.live) bar_release(w, b);
}

// ---------------------------------------------------------------- shared memory, cp.async
void *shared_alloc(const void *tag, size_t n, size_t align) {
  Worker &w = *wk;
  for (int i = 0; i < w.nshared; i++) if (w.shared[i].tag == tag) return w.shared[i].p;
  if (align < 16) align = 16;
  size_t at = (w.top + 32 + align - 1) & ~(align - 1);           // 32: red zone
  w.sbytes += n;
  if (w.sbytes > SMEM_DEFAULT && w.sbytes - w.smem > SMEM_DEFAULT) fail("static shared memory over 48 KiB");
  if (w.nshared == 64 || w.sbytes > SMEM_MAX || at + n + 64 > ARENA) fail("shared memory over %d bytes", SMEM_MAX);
  w.shared[w.nshared++] = {tag, w.arena + at, n}; w.top = at + n;
  __asan_unpoison_memory_region(w.arena + at, n);
  memset(w.arena + at, 0xff, n);                                 // NaN in f32/bf16/f16: reading what was not written shows
  return w.arena + at;
}
static void cp_do(Copy &c) {
  if (note) { note(c.src, c.src_bytes, 0); note(c.dst, c.bytes, 1); }
  memcpy(c.dst, c.src, c.src_bytes); memset((char *)c.dst + c.src_bytes, 0, c.bytes - c.src_bytes);
}
void cp_async(void *dst, const void *src, int bytes, int src_bytes) {
  Thread &t = *self;
  if (((uintptr_t)dst | (src_bytes ? (uintptr_t)src : 0)) & (bytes - 1)) fail("misaligned cp.async of %d bytes: %p <- %p", bytes, dst, src);
  Copy c = {dst, src, bytes, src_bytes, t.cpgroup};
  if (opt.early) return cp_do(c);
  if (note) note(dst, bytes, 1);
  memset(dst, 0xff, bytes);                                      // the worst the hardware may do: destroy now, deliver at the wait
  if (t.ncp == t.cpcap) t.cp = (Copy *)realloc(t.cp, (t.cpcap = t.cpcap * 2 + 16) * sizeof(Copy));
  t.cp[t.ncp++] = c;
}
void cp_commit() { self->cpgroup++; }
void cp_wait(int allow) {
  Thread &t = *self; int k = 0;
  for (int i = 0; i < t.ncp; i++) {
    if (allow < 0 || (int)(t.cpgroup - t.cp[i].group) > allow) cp_do(t.cp[i]); else t.cp[k++] = t.cp[i];
  }
  t.ncp = k;
}

// ---------------------------------------------------------------- running a grid
static Worker *new_worker() {
  Worker *w = (Worker *)calloc(1, sizeof(Worker)); static std::atomic<int> id;
  if (posix_memalign((void **)&w->arena, 1024, ARENA)) abort();
  w->rng = (opt.seed + id++) * 0x9e3779b97f4a7c15ull | 1;
  return w;
}
static void run_block(Worker &w, Grid &g, uint64_t bid) {
  wk = &w; w.kernel = g.name; w.grid = &g; w.body = g.body; w.arg = g.arg; w.smem = w.sbytes = g.smem; w.launch_id = g.id; w.block_id = bid;
  bx.gdim = g.g; bx.bdim = g.b; bx.bid = {(unsigned)(bid % g.g.x), (unsigned)(bid / g.g.x % g.g.y), (unsigned)(bid / g.g.x / g.g.y)};
  int n = w.n = w.live = g.b.x * g.b.y * g.b.z;
  bool same = w.last_dim.x == g.b.x && w.last_dim.y == g.b.y && w.last_dim.z == g.b.z;
  for (int i = 0; i < n; i++) {
    Thread &t = w.th[i]; t.state = 0; t.cpgroup = 0; t.ncp = 0; t.what = nullptr;
    if (!same) { t.lin = i; t.lane = i & 31; t.warp = &w.warp[i >> 5]; t.tid = {i % g.b.x, i / g.b.x % g.b.y, i / g.b.x / g.b.y}; w.order[i] = opt.mode == 1 ? n - 1 - i : i; }
  }
  w.last_dim = g.b;
  w.favour = opt.mode == 2 && rnd(w) & 16 ? 0 : -1;
  if (opt.mode == 2) for (int i = n - 1; i > 0; i--) std::swap(w.order[i], w.order[rnd(w) % (i + 1)]);
  for (int i = 0; i * 32 < n; i++) {
    Warp &p = w.warp[i]; p.id = i; p.epoch = 0; p.live = n - i * 32 >= 32 ? ~0u : (1u << (n - i * 32)) - 1;
  }
  w.rhead = w.rtail = 0; w.next = 0; w.epoch = 0; w.nshared = 0; w.top = g.smem; w.spins = 0;
  __asan_poison_memory_region(w.arena, ARENA); __asan_unpoison_memory_region(w.arena, g.smem);
  memset(w.arena, 0xff, g.smem);
  start_stack(w, &w.main_sp);                                    // returns when every thread has finished, or on failure
  if (w.failed) {                                                // forget the abandoned fibers' state; their stacks are reused
    memset(w.bar, 0, sizeof w.bar); memset(w.warp, 0, sizeof w.warp); w.failed = 0; w.stacks = nullptr;
    for (Stack *s = w.all; s; s = s->all) { __asan_unpoison_memory_region(s->base, STACK); s->next = w.stacks; w.stacks = s; }
  }
  w.grid = nullptr;
}
static void work(Worker &w, Grid &g) {
  for (uint64_t i; (i = g.next++) < g.nblocks && !g.failed;)
    run_block(w, g, opt.mode == 1 ? g.nblocks - 1 - i : opt.mode == 2 ? (i * 2654435761ull + opt.seed) % g.nblocks : i);
}
static struct Pool {                                             // helpers that share a grid's blocks with the launching thread
  std::mutex m; std::condition_variable cv; Grid *cur = nullptr; unsigned gen = 0; int n = 0; pid_t pid = 0;
  void loop() {
    Worker *w = new_worker(); unsigned seen = 0;
    for (;;) {
      Grid *g;
      { std::unique_lock<std::mutex> l(m); cv.wait(l, [&] { return gen != seen; }); seen = gen; g = cur; if (!g) continue; g->users++; }
      work(*w, *g); g->users--;
    }
  }
  void start() { if (pid != getpid()) { pid = getpid(); for (n = 0; n < opt.workers - 1; n++) std::thread([this] { loop(); }).detach(); } }
} &pool = *new Pool;
static std::mutex pool_busy;
static void run_grid(Grid &g) {
  static thread_local Worker *mine; Worker *save_wk = wk;
  if (!mine) mine = new_worker();
  g.next = 0; g.failed = 0; g.users = 0;
  if (g.coop) {                                                  // all blocks at once: an OS thread each
    pthread_barrier_init(&g.bar, 0, (unsigned)g.nblocks);
    std::vector<std::thread> t; static std::vector<Worker *> ws;
    while (ws.size() < g.nblocks) ws.push_back(new_worker());
    for (uint64_t i = 0; i < g.nblocks; i++) t.emplace_back([&, i] { run_block(*ws[i], g, i); ws[i]->main_bottom = nullptr; });
    for (auto &x : t) x.join();
    pthread_barrier_destroy(&g.bar);
  } else if (opt.workers > 1 && g.nblocks > 1 && (g.threads >= 1024 || g.threads == g.nblocks) && pool_busy.try_lock()) {
    pool.start();
    { std::lock_guard<std::mutex> l(pool.m); pool.cur = &g; pool.gen++; }
    pool.cv.notify_all();
    work(*mine, g);
    { std::lock_guard<std::mutex> l(pool.m); pool.cur = nullptr; }
    while (g.users) std::this_thread::yield();
    pool_busy.unlock();
  } else work(*mine, g);
  wk = save_wk;
}

// ---------------------------------------------------------------- host runtime
static thread_local cudaError_t last_error; static std::atomic<int> sticky;
static cudaError_t err(cudaError_t e) { if (e && e != cudaErrorNotReady) last_error = e; return e; }
static std::mutex alloc_m; static std::map<uintptr_t, size_t> allocs, pinned; static std::map<const void *, int> max_smem;
struct Stat { long n = 0; double sec = 0; uint64_t threads = 0; };
static std::map<std::string, Stat> &stats = *new std::map<std::string, Stat>; static std::mutex stats_m;
static double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
static void dump_stats() {
  double sum = 0; fprintf(stderr, "%-44s %7s %10s %9s %10s\n", "kernel", "calls", "ms", "us/call", "ns/thread");
  for (auto &s : stats) { sum += s.second.sec; fprintf(stderr, "%-44.44s %7ld %10.2f %9.1f %10.1f\n", s.first.c_str(), s.second.n, s.second.sec * 1e3, s.second.sec * 1e6 / s.second.n, s.second.threads ? s.second.sec * 1e9 / s.second.threads : 0.); }
  fprintf(stderr, "%-44s %7s %10.2f\n", "total", "", sum * 1e3);
}
void stat_add(const char *name, double sec, uint64_t threads) {
  static int once = (atexit(dump_stats), 0); (void)once;
  std::lock_guard<std::mutex> l(stats_m); auto &s = stats[name]; s.n++; s.sec += sec; s.threads += threads;
}
static size_t up(size_t n, size_t a) { return (n + a - 1) / a * a; }
static bool in_map(std::map<uintptr_t, size_t> &m, const void *p, size_t n, uintptr_t *base = nullptr, size_t *size = nullptr) {
  std::lock_guard<std::mutex> l(alloc_m); auto i = m.upper_bound((uintptr_t)p);
  if (i == m.begin() || (uintptr_t)p + n > (--i)->first + i->second) return false;
  if (base) { *base = i->first; *size = i->second; }
  return true;
}
bool is_device_ptr(const void *p, size_t n, uintptr_t *base, size_t *size) { return in_map(allocs, p, n, base, size); }
static void protect(int prot) {                                  // SIMT_GUARD: device memory exists only while the device runs
  std::lock_guard<std::mutex> l(alloc_m);
  for (auto &a : allocs) { size_t n = up(a.second, 4096); mprotect((void *)(a.first + a.second - n + up(a.second, 16) - a.second), n, prot); }
}
struct Device { Device() { if (opt.guard) protect(PROT_READ | PROT_WRITE); } ~Device() { if (opt.guard) protect(PROT_NONE); } };
}
// A stream is a queue of closures. Eager mode runs each at once; SIMT_LAZY=1 runs them only when something waits for them.
struct SimtOp { std::function<void()> fn; CUevent_st *wait; uint64_t seq; };
struct CUgraph_st { std::vector<SimtOp> ops; };
struct CUgraphExec_st { std::vector<SimtOp> ops; };
struct CUstream_st { std::deque<SimtOp> q; CUgraph_st *capture = nullptr; bool nonblocking = false; bool step(); };
struct CUevent_st { CUstream_st *s = nullptr; uint64_t want = 0, done = 0; double t = 0; };
namespace simt {
static thread_local std::vector<CUstream_st *> streams;
static void sync_event(CUevent_st *e, uint64_t seq) { while (e->done < seq && e->s && e->s->step()) {} }
static void sync_stream(CUstream_st *s) { while (s->step()) {} }
static void sync_all(bool nonblocking) {
  static uint64_t r = opt.seed;
  for (;;) {
    std::vector<CUstream_st *> v;
    for (auto s : streams) if (!s->q.empty() && (nonblocking || !s->nonblocking)) v.push_back(s);
    if (v.empty()) return;
    r = r * 6364136223846793005ull + 1442695040888963407ull; v[opt.lazy == 1 ? v.size() - 1 : (r >> 33) % v.size()]->step();   // 1: newest stream first, 2: random
  }
}
static void submit(CUstream_st *s, SimtOp op) {
  if (s && s->capture) { s->capture->ops.push_back(std::move(op)); return; }
  if (s && opt.lazy) { s->q.push_back(std::move(op)); return; }
  if (!s && opt.lazy) sync_all(false);                           // the legacy default stream waits for the blocking streams
  if (op.wait) sync_event(op.wait, op.seq);
  if (op.fn) { Device d; op.fn(); }
}
void enqueue(cudaStream_t s, void (*run)(void *), void *arg, void (*del)(void *)) {
  std::shared_ptr<void> own(arg, del); submit(s, {[=] { run(own.get()); }, nullptr, 0});
}
static cudaError_t reject(const char *name, const char *why, void *arg, void (*del)(void *), cudaError_t e) {
  fprintf(stderr, "simt: launch of %s rejected: %s\n", name, why); del(arg); return err(e);
}
cudaError_t launch_impl(const char *name, const void *fn, dim3 g, dim3 b, size_t smem, cudaStream_t s, int coop,
                        void (*body)(void *), void *arg, void (*del)(void *)) {
  uint64_t nt = (uint64_t)b.x * b.y * b.z, nb = (uint64_t)g.x * g.y * g.z;
  if (!nt || nt > MAXT || b.z > 64) return reject(name, "block dimensions", arg, del, cudaErrorInvalidConfiguration);
  if (!nb || g.x > 0x7fffffff || g.y > 65535 || g.z > 65535) return reject(name, "grid dimensions", arg, del, cudaErrorInvalidConfiguration);
  { std::lock_guard<std::mutex> l(alloc_m); auto i = max_smem.find(fn);
    if (smem > (size_t)(i == max_smem.end() ? (int)SMEM_DEFAULT : i->second)) return reject(name, "dynamic shared memory over the limit (cudaFuncSetAttribute?)", arg, del, cudaErrorInvalidValue); }
  static std::atomic<unsigned> ids; std::shared_ptr<void> own(arg, del);
  submit(s, {[=] {
    Grid gr; gr.g = g; gr.b = b; gr.smem = smem; gr.body = body; gr.arg = own.get(); gr.name = name; gr.nblocks = nb; gr.threads = nt * nb; gr.coop = coop; gr.id = ++ids;
    double t = opt.stats ? now() : 0;
    run_grid(gr);
    if (gr.failed) sticky = cudaErrorLaunchFailure;
    if (opt.stats) stat_add(name, now() - t, nt * nb);
  }, nullptr, 0});
  return cudaSuccess;
}
}
bool CUstream_st::step() {
  if (q.empty()) return false;
  SimtOp op = std::move(q.front()); q.pop_front();
  if (op.wait) simt::sync_event(op.wait, op.seq);
  if (op.fn) { simt::Device d; op.fn(); }
  return true;
}
using namespace simt;
static cudaError_t finish() { if (sticky) return err((cudaError_t)(int)sticky); return cudaSuccess; }
extern "C" {
cudaError_t cudaMalloc(void **p, size_t n) {
  size_t m = n ? n : 1; char *a;
  if (opt.guard) {                                               // end of the buffer against an inaccessible page
    size_t r = up(m, 4096); a = (char *)mmap(0, r + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(a, 0xff, r); mprotect(a, r + 4096, PROT_NONE); a += r - up(m, 16);
  } else {
    if (posix_memalign((void **)&a, 256, m)) return err(cudaErrorMemoryAllocation);
    memset(a, 0xff, m);
  }
  std::lock_guard<std::mutex> l(alloc_m); allocs[(uintptr_t)a] = m; *p = a; return cudaSuccess;
}
cudaError_t cudaFree(void *p) {
  if (!p) return cudaSuccess;
  sync_all(true); std::lock_guard<std::mutex> l(alloc_m); auto i = allocs.find((uintptr_t)p);
  if (i == allocs.end()) { fprintf(stderr, "simt: cudaFree(%p): not a device allocation\n", p); return err(cudaErrorInvalidValue); }
  if (opt.guard) munmap((void *)((uintptr_t)p & ~4095ul), up(i->second, 4096) + 4096); else free(p);
  allocs.erase(i); return cudaSuccess;
}
cudaError_t cudaMallocAsync(void **p, size_t n, cudaStream_t) { return cudaMalloc(p, n); }
cudaError_t cudaFreeAsync(void *p, cudaStream_t s) { submit(s, {[=] { cudaFree(p); }, nullptr, 0}); return cudaSuccess; }
cudaError_t cudaMallocHost(void **p, size_t n) { *p = malloc(n); std::lock_guard<std::mutex> l(alloc_m); pinned[(uintptr_t)*p] = n; return cudaSuccess; }
cudaError_t cudaFreeHost(void *p) { std::lock_guard<std::mutex> l(alloc_m); pinned.erase((uintptr_t)p); free(p); return cudaSuccess; }
static cudaError_t check_copy(void *d, const void *s, size_t n, int k) {
  bool dd = is_device_ptr(d, n), sd = is_device_ptr(s, n);
  if (k != cudaMemcpyDefault && (dd != (k == cudaMemcpyHostToDevice || k == cudaMemcpyDeviceToDevice) || sd != (k == cudaMemcpyDeviceToHost || k == cudaMemcpyDeviceToDevice))) {
    fprintf(stderr, "simt: cudaMemcpy kind %d but destination is %s memory (or overruns it), source is %s\n", k, dd ? "device" : "host", sd ? "device" : "host");
    return err(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *d, const void *s, size_t n, enum cudaMemcpyKind k, cudaStream_t st) {
  if (check_copy(d, s, n, k)) return last_error;
  if (opt.lazy && !is_device_ptr(s, n) && !in_map(pinned, s, n)) {   // pageable source: staged before the call returns
    auto tmp = std::make_shared<std::vector<char>>((const char *)s, (const char *)s + n);
    submit(st, {[=] { memcpy(d, tmp->data(), n); }, nullptr, 0});
  } else submit(st, {[=] { memmove(d, s, n); }, nullptr, 0});
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, enum cudaMemcpyKind k, cudaStream_t st) {
  for (size_t i = 0; i < h; i++) { cudaError_t e = cudaMemcpyAsync((char *)d + i * dp, (const char *)s + i * sp, w, k, st); if (e) return e; }
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void *d, const void *s, size_t n, enum cudaMemcpyKind k) { cudaError_t e = cudaMemcpyAsync(d, s, n, k, nullptr); return e ? e : finish(); }
cudaError_t cudaMemsetAsync(void *d, int v, size_t n, cudaStream_t st) {
  if (!is_device_ptr(d, n)) { fprintf(stderr, "simt: cudaMemset outside a device allocation\n"); return err(cudaErrorInvalidValue); }
  submit(st, {[=] { memset(d, v, n); }, nullptr, 0}); return cudaSuccess;
}
cudaError_t cudaMemset(void *d, int v, size_t n) { return cudaMemsetAsync(d, v, n, nullptr); }
cudaError_t cudaMemGetInfo(size_t *f, size_t *t) { size_t u = 0; for (auto &a : allocs) u += a.second; *t = 80ull << 30; *f = *t - u; return cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned f) { *s = new CUstream_st; (*s)->nonblocking = f & cudaStreamNonBlocking; streams.push_back(*s); return cudaSuccess; }
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithFlags(s, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t s) { sync_stream(s); streams.erase(std::find(streams.begin(), streams.end(), s)); delete s; return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t s) { if (s) sync_stream(s); else sync_all(false); return finish(); }
cudaError_t cudaStreamQuery(cudaStream_t s) { if (s && s->step()) return cudaErrorNotReady; return finish(); }
cudaError_t cudaDeviceSynchronize(void) { sync_all(true); return finish(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned) { *e = new CUevent_st; return cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e) { delete e; return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) { uint64_t q = ++e->want; e->s = s; submit(s, {[=] { e->done = q; e->t = now(); }, nullptr, 0}); return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t e) { sync_event(e, e->want); return finish(); }
cudaError_t cudaEventQuery(cudaEvent_t e) { if (e->done < e->want && e->s) { e->s->step(); return cudaErrorNotReady; } return finish(); }
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) { submit(s, {nullptr, e, e->want}); return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) { *ms = (float)((b->t - a->t) * 1e3); return cudaSuccess; }
cudaError_t cudaPeekAtLastError(void) { return sticky ? (cudaError_t)(int)sticky : last_error; }
cudaError_t cudaGetLastError(void) { cudaError_t e = cudaPeekAtLastError(); last_error = cudaSuccess; return e; }
const char *cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "cudaSuccess"; case cudaErrorInvalidValue: return "cudaErrorInvalidValue"; case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration"; case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure"; default: return "cudaError"; }
}
const char *cudaGetErrorString(cudaError_t e) { return cudaGetErrorName(e); }
static int ndev() { return env_int("SIMT_DEVICES", 8); }
static thread_local int device;
cudaError_t cudaGetDeviceCount(int *n) { *n = ndev(); return cudaSuccess; }
cudaError_t cudaSetDevice(int d) { if (d < 0 || d >= ndev()) return err(cudaErrorInvalidDevice); device = d; return cudaSuccess; }
cudaError_t cudaDeviceGetPCIBusId(char *id, int n, int d) { snprintf(id, n, "0000:%02x:00.0", d); return cudaSuccess; }
cudaError_t cudaGetDevice(int *d) { *d = device; return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int) {
  memset(p, 0, sizeof *p); strcpy(p->name, "simt (emulated sm_90)"); p->major = 9; p->minor = 0; p->multiProcessorCount = env_int("SIMT_SMS", 132); p->warpSize = 32;
  p->totalGlobalMem = 80ull << 30; p->sharedMemPerBlock = 48 << 10; p->sharedMemPerBlockOptin = SMEM_MAX; p->sharedMemPerMultiprocessor = 228 << 10;
  p->maxThreadsPerBlock = 1024; p->maxThreadsPerMultiProcessor = 2048; p->regsPerBlock = 65536; p->l2CacheSize = 50 << 20; return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute a, int v) {
  if (a != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (v > SMEM_MAX) return err(cudaErrorInvalidValue);
  std::lock_guard<std::mutex> l(alloc_m); max_smem[f] = v; return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode) { s->capture = new CUgraph_st; return cudaSuccess; }
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g) { *g = s->capture; s->capture = nullptr; return cudaSuccess; }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long) { *x = new CUgraphExec_st{g->ops}; return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s) { for (auto &o : x->ops) submit(s, o); return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x) { delete x; return cudaSuccess; }
cudaError_t cudaGraphDestroy(cudaGraph_t g) { delete g; return cudaSuccess; }
}
