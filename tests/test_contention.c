/* What a process is kept from: two threads that share one CPU wait for each other. */
#include "runtime/contention.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/check.h"

static const double BURN_S = 0.1;
static atomic_int done;

static double thread_cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* stays until both have burnt their time: a thread that has ended is not counted */
static void *burn(void *unused) {
    double until = thread_cpu_s() + BURN_S;
    while (thread_cpu_s() < until) {}
    done++;
    while (done < 3) sched_yield();
    return unused;
}

static void threads_on_one_cpu_wait(void **unused) {
    (void)unused;
    cpu_set_t before, one;
    pthread_t threads[2];
    contention a = contention_now();
    if (isnan(a.waited_s)) skip();
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &before)) {
            CPU_SET(i, &one);
            break;
        }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0); /* new threads inherit it */
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, burn, NULL), 0);
    while (done < 2) sched_yield();
    contention b = contention_now();
    done++;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    sched_setaffinity(0, sizeof before, &before);
    assert_true(b.cpu_s - a.cpu_s >= 2 * BURN_S);
    /* while the first one that is done burnt its time, the other waited for all that it did not run itself */
    if (!(b.waited_s - a.waited_s >= BURN_S))
        fail_msg("waited %.3g s, expected %.3g or more", b.waited_s - a.waited_s, BURN_S);
    assert_true(b.switches >= a.switches);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_on_one_cpu_wait)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
