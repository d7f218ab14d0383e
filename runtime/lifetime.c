#include "runtime/lifetime.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const uint64_t SECOND = 1000000000, MS = 1000000;

static uint64_t read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

uint64_t lifetime_now_ns(void) { return read_clock(CLOCK_BOOTTIME); }

/* ---- the start ---- */

/* /proc/self/stat, field 22, in ticks of the boot clock: the fields behind the last ")" begin with the third */
static bool read_start(uint64_t *ns) {
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "r");
    if (!f) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    const char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++) field = strchr(field + 1, ' ');
    if (!field) return false;
    unsigned long long ticks = strtoull(field, NULL, 10);
    *ns = (uint64_t)((double)ticks * 1e9 / (double)sysconf(_SC_CLK_TCK));
    return ticks > 0;
}

static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static uint64_t start_ns;

static void find_start(void) {
    uint64_t now = lifetime_now_ns(), told;
    start_ns = read_start(&told) && told <= now && now - told < 30 * SECOND ? told : now;
}

uint64_t lifetime_start_ns(void) {
    pthread_once(&start_once, find_start);
    return start_ns;
}

void lifetime_begin(void) {
    sigset_t continues;
    sigemptyset(&continues);
    sigaddset(&continues, SIGCONT);
    pthread_sigmask(SIG_BLOCK, &continues, NULL);
    lifetime_start_ns();
}

/* ---- stopped time ---- */

static _Atomic uint64_t stopped_ns;

uint64_t lifetime_stopped_ns(void) { return atomic_load(&stopped_ns); }

uint64_t lifetime_tick(lifetime_ticks *t, lifetime_sample now, uint64_t period_ns, bool continued, int cpus) {
    uint64_t boot = now.boot_ns - t->last.boot_ns, ran = now.monotonic_ns - t->last.monotonic_ns;
    uint64_t cpu = now.cpu_ns - t->last.cpu_ns, could = period_ns * (uint64_t)cpus;
    uint64_t late = ran > period_ns ? ran - period_ns : 0, before = t->late_ns;
    uint64_t suspended = boot > ran + MS ? boot - ran : 0; /* the two clocks are not read at the same instant */
    t->last = now;
    t->late_ns = 0;
    if (continued && late > 2 * period_ns) return suspended + late;
    if (continued && before > 2 * period_ns) return suspended + before; /* SIGCONT came after the late tick */
    if (late > 10 * SECOND && cpu < could + late / 100) return suspended + late;
    t->late_ns = late;
    return suspended;
}

static lifetime_sample sample(void) {
    return (lifetime_sample){.boot_ns = lifetime_now_ns(),
                             .monotonic_ns = read_clock(CLOCK_MONOTONIC),
                             .cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID)};
}

static struct {
    pthread_t thread;
    bool runs;
    atomic_bool ends;
    void (*each)(void *);
    void *argument;
} watch;

/* 0.5% of the age, so that little time is unseen when a young process is killed */
static uint64_t period(void) {
    uint64_t p = (lifetime_now_ns() - lifetime_start_ns()) / 200;
    return p < 10 * MS ? 10 * MS : p > 100 * MS ? 100 * MS : p;
}

static void *tick(void *unused) {
    (void)unused;
    lifetime_ticks t = {.last = sample()};
    int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    sigset_t continues;
    sigemptyset(&continues);
    sigaddset(&continues, SIGCONT);
    uint64_t own = 0; /* time in `each`, whose write may wait for a slow disk: the process is not stopped meanwhile */
    while (!atomic_load(&watch.ends)) {
        uint64_t ns = period();
        struct timespec sleep = {.tv_nsec = (long)ns};
        bool continued = sigtimedwait(&continues, NULL, &sleep) == SIGCONT;
        if (atomic_load(&watch.ends)) continued = false; /* lifetime_watch_end may have sent the signal */
        if (!continued) ns += own;
        atomic_fetch_add(&stopped_ns, lifetime_tick(&t, sample(), ns, continued, cpus));
        if (watch.each) watch.each(watch.argument);
        own = read_clock(CLOCK_MONOTONIC) - t.last.monotonic_ns;
    }
    return NULL;
}

status lifetime_watch(void (*each)(void *), void *argument) {
    sigset_t all, before;
    lifetime_start_ns();
    if (watch.runs) FAIL(ARG, "the thread that watches the time runs already");
    watch.each = each;
    watch.argument = argument;
    atomic_store(&watch.ends, false);
    sigfillset(&all); /* no other thread's signal may be delivered to this thread */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int code = pthread_create(&watch.thread, NULL, tick, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code) FAIL(MEM, "cannot start the thread that watches the time: %s", strerror(code));
    watch.runs = true;
    return STATUS_OK;
}

void lifetime_watch_end(void) {
    if (!watch.runs) return;
    atomic_store(&watch.ends, true);
    pthread_kill(watch.thread, SIGCONT); /* wakes the thread, which waits for it */
    pthread_join(watch.thread, NULL);
    watch.runs = false;
}
