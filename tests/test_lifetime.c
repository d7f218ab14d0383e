#include "tests/check.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "runtime/lifetime.h"
#include "runtime/meter.h"

static const uint64_t MS = 1000000, SECOND = 1000000000;

/* result of a tick that comes so many ms after the last one */
static uint64_t tick(lifetime_ticks *t, uint64_t boot_ms, uint64_t monotonic_ms, uint64_t cpu_ms, bool continued) {
    lifetime_sample now = t->last;
    now.boot_ns += boot_ms * MS;
    now.monotonic_ns += monotonic_ms * MS;
    now.cpu_ns += cpu_ms * MS;
    return lifetime_tick(t, now, 100 * MS, continued, 4) / MS;
}

static void a_late_tick_alone_proves_nothing(void **unused) {
    (void)unused;
    lifetime_ticks t = {0};
    assert_int_equal(tick(&t, 100, 100, 90, false), 0);
    assert_int_equal(tick(&t, 5000, 5000, 90, false), 0); /* a busy machine */
    assert_int_equal(tick(&t, 100, 100, 90, false), 0);
    assert_int_equal(tick(&t, 100, 100, 90, true), 0);        /* SIGCONT without a stop */
    assert_int_equal(tick(&t, 60000, 60000, 9000, false), 0); /* starved of CPU time, but it ran */
}

static void what_explains_it_is_stopped_time(void **unused) {
    (void)unused;
    lifetime_ticks t = {0};
    assert_int_equal(tick(&t, 2100, 2100, 90, true), 2000);
    assert_int_equal(tick(&t, 3100, 3100, 90, false), 0); /* the tick came before the signal */
    assert_int_equal(tick(&t, 1, 1, 0, true), 3000);
    assert_int_equal(tick(&t, 100, 100, 90, true), 0);            /* a signal explains one tick only */
    assert_int_equal(tick(&t, 3600100, 100, 90, false), 3600000); /* suspended */
    assert_int_equal(tick(&t, 3602100, 2100, 90, true), 3602000); /* suspended and stopped */
    assert_int_equal(tick(&t, 60100, 60100, 100, false), 60000);  /* frozen, without a signal */
}

static void a_process_is_as_old_as_the_system_says(void **unused) {
    (void)unused;
    uint64_t start = lifetime_start_ns(), now = lifetime_now_ns();
    assert_true(start <= now && now - start < 600 * SECOND);
    assert_true(lifetime_start_ns() == start);
    meter m = {0};
    meter_start_at_birth(&m, BOOK_STARTUP);
    meter_book(&m, BOOK_USEFUL);
    assert_true(m.booked_ns[BOOK_STARTUP] >= now - start && m.booked_ns[BOOK_USEFUL] == 0);
}

/* A child stops and continues this process; the watch detects it, and the meter books it as stopped. */
static void the_watch_finds_a_stop(void **unused) {
    (void)unused;
    meter m = {0};
    OK(lifetime_watch(NULL, NULL));
    FAILS(ARG, "runs already", lifetime_watch(NULL, NULL));
    meter_start(&m, BOOK_DATA);
    usleep(300000);
    meter_book(&m, BOOK_USEFUL);
    uint64_t since = lifetime_now_ns();
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        usleep(100000);
        kill(parent, SIGSTOP);
        usleep(1500000);
        kill(parent, SIGCONT);
        _exit(0);
    }
    for (int i = 0; i < 6000 && !lifetime_stopped_ns(); i++) usleep(10000);
    meter_book(&m, BOOK_LOST);
    uint64_t all = lifetime_now_ns() - since;
    lifetime_watch_end();
    lifetime_watch_end();
    assert_true(m.booked_ns[BOOK_STOPPED] == lifetime_stopped_ns());
    assert_true(m.booked_ns[BOOK_STOPPED] > SECOND && m.booked_ns[BOOK_STOPPED] <= all);
    assert_true(m.booked_ns[BOOK_DATA] >= 300 * MS);
    assert_true(m.booked_ns[BOOK_USEFUL] + m.booked_ns[BOOK_STOPPED] <= all + MS);
}

static void wait_once(void *calls) {
    if (atomic_fetch_add((atomic_int *)calls, 1) == 0) usleep(11000000);
}

/* A callback may wait for a disk, even more than 10 s. The end, which wakes the thread by SIGCONT, is not a stop either. */
static void a_slow_call_is_no_stop(void **unused) {
    (void)unused;
    uint64_t before = lifetime_stopped_ns();
    static atomic_int calls;
    OK(lifetime_watch(wait_once, &calls));
    while (atomic_load(&calls) < 2) usleep(1000);
    usleep(1000);
    lifetime_watch_end();
    assert_true(lifetime_stopped_ns() == before);
}

/* The watch may report a stop after the booking in which it happened has ended. */
static void a_stop_that_is_told_late_is_moved(void **unused) {
    (void)unused;
    uint64_t stopped = lifetime_stopped_ns();
    meter m = {.booked_ns = {[BOOK_USEFUL] = 5 * stopped, [BOOK_EVALUATION] = 3}};
    assert_true(stopped > 0);
    meter_start(&m, BOOK_EVALUATION);
    m.stopped_ns = 0; /* as if it had been reported just now */
    m.last = BOOK_USEFUL;
    meter_book(&m, BOOK_DATA);
    assert_true(m.booked_ns[BOOK_STOPPED] == stopped);
    assert_true(m.booked_ns[BOOK_USEFUL] >= 4 * stopped);

    m = (meter){.booked_ns = {[BOOK_USEFUL] = 5 * stopped, [BOOK_COMMUNICATION] = 2 * stopped}};
    meter_start(&m, BOOK_USEFUL); /* for a moment only, after the wait in which the stop happened */
    m.stopped_ns = 0;
    m.last = BOOK_COMMUNICATION;
    meter_book(&m, BOOK_DATA);
    assert_true(m.booked_ns[BOOK_STOPPED] == stopped);
    assert_true(m.booked_ns[BOOK_USEFUL] == 5 * stopped && m.booked_ns[BOOK_COMMUNICATION] > stopped);
}

int main(void) {
    lifetime_begin();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_tick_alone_proves_nothing),       cmocka_unit_test(what_explains_it_is_stopped_time),
        cmocka_unit_test(a_process_is_as_old_as_the_system_says), cmocka_unit_test(the_watch_finds_a_stop),
        cmocka_unit_test(a_stop_that_is_told_late_is_moved),      cmocka_unit_test(a_slow_call_is_no_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
