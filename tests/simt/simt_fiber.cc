/* Fibers: a block's threads on one OS thread, which one runs next, and what is said when none can. */
#include <algorithm>
#include <cstdarg>
#include <map>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include "simt_state.h"

/* Saves the callee-saved registers on this stack, whose pointer goes to *save, and goes on where `load` was saved. */
extern "C" void simt_switch(void **save, void *load);
#if defined(__x86_64__)
asm(".text\n.globl simt_switch\n.type simt_switch,@function\nsimt_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\nmov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\npop %rcx\njmp *%rcx\n"
    ".size simt_switch,.-simt_switch\n");
#elif defined(__aarch64__)
asm(".text\n.globl simt_switch\n.type simt_switch,%function\nsimt_switch:\n"
    "stp x29,x30,[sp,#-160]!\nstp x19,x20,[sp,#16]\nstp x21,x22,[sp,#32]\nstp x23,x24,[sp,#48]\n"
    "stp x25,x26,[sp,#64]\nstp x27,x28,[sp,#80]\nstp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\n"
    "stp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\nmov x9,sp\nstr x9,[x0]\nmov sp,x1\n"
    "ldp x19,x20,[sp,#16]\nldp x21,x22,[sp,#32]\nldp x23,x24,[sp,#48]\nldp x25,x26,[sp,#64]\n"
    "ldp x27,x28,[sp,#80]\nldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\nldp d12,d13,[sp,#128]\n"
    "ldp d14,d15,[sp,#144]\nldp x29,x30,[sp],#160\nret\n");
#else
#error "the emulation lacks a context switch for this processor"
#endif

namespace simt {

__thread Thread *self;
__thread Worker *wk;
__thread BlockIndex bx = {};
long ldmatrix_conflicts;
extern "C" long simt_ldmatrix_conflicts() { return ldmatrix_conflicts; }
void (*note)(const void *, size_t, int);

static const char *text_of(const char *name) {
    const char *s = getenv(name);
    return s ? s : "";
}

static int number_of(const char *name, int otherwise) { return *text_of(name) ? atoi(getenv(name)) : otherwise; }

Options::Options() {
    const char *text = text_of("SIMT_ORDER");
    if (!strcmp(text, "rev")) order = REVERSE;
    if (!strncmp(text, "rand:", 5)) {
        order = RANDOM;
        seed = strtoull(text + 5, nullptr, 0);
    }
    int lazy = number_of("SIMT_LAZY", 0);
    streams = lazy == 0 ? EAGER : lazy == 1 ? NEWEST_FIRST : ANY_FIRST;
    workers = number_of("SIMT_WORKERS", (int)sysconf(_SC_NPROCESSORS_ONLN));
    multiprocessors = number_of("SIMT_SMS", 132);
    devices = number_of("SIMT_DEVICES", 1);
    memory_bytes = (size_t)number_of("SIMT_MEMORY_MIB", 80 << 10) << 20;
    guard = number_of("SIMT_GUARD", 0);
    early_copies = !strcmp(text_of("SIMT_CPASYNC"), "early");
}
Options options;

/* --- stacks --- */

static const size_t STACK_PITCH = STACK_BYTES + PAGE_BYTES;

static Stack *get_stack(Worker &w) {
    if (Stack *s = w.free_stacks) {
        w.free_stacks = s->next;
        return s;
    }
    if (!w.region) { /* all of a worker's stacks are reserved at once, and taken as they are touched */
        w.region = (char *)mmap(nullptr, MAX_THREADS * STACK_PITCH, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (w.region == MAP_FAILED) {
            perror("simt: stacks");
            abort();
        }
    }
    char *page = w.region + (size_t)w.n_stacks * STACK_PITCH;
    mprotect(page, PAGE_BYTES, PROT_NONE); /* a kernel that overflows its stack faults */
    Stack *s = new Stack;
    s->all = w.all_stacks;
    w.all_stacks = s;
    s->base = page + PAGE_BYTES;
    s->top = s->base + STACK_BYTES - (w.n_stacks++ * 320 & 0xfc0); /* spread over the sets of the cache */
    return s;
}

static void stack_main();

/* as simt_switch leaves it: returning goes to stack_main */
static void *fresh_sp(Stack *s) {
    void **p = (void **)((uintptr_t)s->top & ~(uintptr_t)15);
#if defined(__x86_64__)
    *--p = nullptr;
    *--p = (void *)stack_main;
    return p - 6;
#else
    p -= 20;
    memset(p, 0, 160);
    p[1] = (void *)stack_main;
    return p;
#endif
}

/* Leaves the running context, saved in *save, for another; to is null for the worker's own stack. Always inlined: the frame of
 * one who dies is never left, and what ASan has poisoned of it would meet the stack's next user. */
__attribute__((always_inline)) static inline void switch_to(Worker &w, void **save, void *sp, Stack *to,
                                                            bool dying = false) {
#if SIMT_ASAN
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(dying ? nullptr : &fake, to ? to->base : w.main_bottom,
                                   to ? STACK_BYTES : w.main_bytes);
    simt_switch(save, sp);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    (void)w, (void)to, (void)dying;
    simt_switch(save, sp);
#endif
}

/* --- who runs next --- */

/* SIMT_ORDER=rand: in half of the blocks any thread, in the other half one warp as far as it goes */
static void pick_at_random(Worker &w) {
    unsigned n = w.ready_tail - w.ready_head, pick = (unsigned)(random_next(w) % n);
    auto at = [&](unsigned i) -> Thread *& { return w.ready[(w.ready_head + i) & (MAX_THREADS - 1)]; };
    if (w.favour >= 0 && random_next(w) & 511)
        for (unsigned i = 0; i < n; i++)
            if (at(i)->warp->id == w.favour) {
                pick = i;
                break;
            }
    std::swap(at(0), at(pick));
    if (w.favour >= 0) w.favour = at(0)->warp->id;
}

static inline Thread *pop_ready(Worker &w) {
    if (options.order == Options::REVERSE) return w.ready[--w.ready_tail & (MAX_THREADS - 1)];
    if (options.order == Options::RANDOM) pick_at_random(w);
    return w.ready[w.ready_head++ & (MAX_THREADS - 1)];
}

/* one that has waited, or one that has not yet begun */
static inline bool prefer_ready(Worker &w) {
    if (w.ready_head == w.ready_tail) return false;
    return w.started == w.n || options.order != Options::RANDOM || random_next(w) & 64;
}

[[noreturn]] static void deadlock(Worker &w);

/* A fiber's life: threads that have not begun run on it one after another, each as far as it goes. */
static void stack_main() {
    Worker &w = *wk;
    Stack *mine = w.starting;
    void *dead;
#if SIMT_ASAN
    const void *from;
    size_t from_bytes;
    __sanitizer_finish_switch_fiber(nullptr, &from, &from_bytes);
    if (!w.main_bottom) { /* the first switch on this OS thread tells where its own stack is */
        w.main_bottom = from;
        w.main_bytes = from_bytes;
    }
#endif
    while (w.started < w.n && !prefer_ready(w)) {
        Thread *t = self = &w.th[w.order[w.started++]];
        t->stack = mine;
        t->state = STARTED;
        w.body(w.arg); /* may block, and go on here later */
        thread_exit(w, t);
    }
    mine->next = w.free_stacks;
    w.free_stacks = mine;
    if (w.ready_head != w.ready_tail) {
        self = pop_ready(w);
        switch_to(w, &dead, self->sp, self->stack, true);
    } else if (w.live == 0) {
        switch_to(w, &dead, w.main_sp, nullptr, true);
    }
    deadlock(w);
}

static void start_stack(Worker &w, void **save) {
    w.starting = get_stack(w);
    switch_to(w, save, fresh_sp(w.starting), w.starting);
}

void block_thread(Worker &w) {
    Thread *me = self;
    if (prefer_ready(w)) {
        Thread *t = self = pop_ready(w);
        if (t != me) switch_to(w, &me->sp, t->sp, t->stack);
    } else if (w.started < w.n) {
        start_stack(w, &me->sp);
    } else {
        deadlock(w);
    }
}

void yield() {
    Worker &w = *wk;
    Thread *me = self;
    if (++w.spins > 1000000u) fail("a spin loop waits for ever: blocks of a launch need not run at the same time");
    if (w.ready_head == w.ready_tail && w.started == w.n) return;
    me->what = "spin";
    me->file = "";
    me->line = 0;
    if (options.order == Options::REVERSE) /* behind all others, or it would be the next again */
        w.ready[--w.ready_head & (MAX_THREADS - 1)] = me;
    else make_ready(w, me);
    if (w.started < w.n) start_stack(w, &me->sp);
    else block_thread(w);
}

void run_threads(Worker &w) {
    start_stack(w, &w.main_sp);
    if (!w.failed) return;
    /* what the abandoned fibers were at is forgotten; their stacks are used again */
    w.barrier = Barrier();
    memset(w.warp, 0, sizeof w.warp);
    w.failed = 0;
    w.free_stacks = nullptr;
    for (Stack *s = w.all_stacks; s; s = s->all) {
        ASAN_UNPOISON_MEMORY_REGION(s->base, STACK_BYTES);
        s->next = w.free_stacks;
        w.free_stacks = s;
    }
}

/* --- failures --- */

void fail(const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!wk || !wk->grid) {
        fprintf(stderr, "simt: %s\n", text);
        abort();
    }
    Worker &w = *wk;
    fprintf(stderr, "simt: error in %s, block (%u,%u,%u), thread (%u,%u,%u): %s\n", w.kernel, bx.bid.x, bx.bid.y,
            bx.bid.z, self->tid.x, self->tid.y, self->tid.z, text);
    w.failed = 1;
    w.grid->failed = 1;
    void *dead;
    switch_to(w, &dead, w.main_sp, nullptr, true); /* the block's other fibers are abandoned */
    abort();
}

static void deadlock(Worker &w) {
    std::map<std::string, std::pair<int, int>> places; /* how many wait there, and the first of them */
    int exited = 0;
    for (int i = 0; i < w.n; i++) {
        Thread &t = w.th[i];
        if (t.state == EXITED) {
            exited++;
            continue;
        }
        auto &place = places[std::string(t.what ? t.what : "?") + " at " + (t.file ? t.file : "?") + ":" +
                             std::to_string(t.line)];
        if (!place.first++) place.second = i;
    }
    std::string text;
    for (auto &p : places)
        text += std::to_string(p.second.first) + " threads (first: " + std::to_string(p.second.second) + ") wait in " +
                p.first + "; ";
    fail("deadlock: %s%d exited", text.c_str(), exited);
}

} // namespace simt
