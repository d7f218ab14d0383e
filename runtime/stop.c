#include "runtime/stop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/log.h"

static const struct {
    int number;
    const char *name;
} signals[] = {{SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGTERM, "SIGTERM"},
               {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}, {SIGXCPU, "SIGXCPU"}};
enum { SIGNALS = sizeof signals / sizeof *signals };

static atomic_int requested;
static atomic_bool saves;
static long looks_left; /* calls until the test's signal; 0: none */

static bool ignored(int number) {
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static void kill_self(int number, const sigset_t *blocked) {
    signal(number, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, blocked, NULL);
    raise(number);
}

static void *wait_for_signals(void *set) {
    int number;
    for (bool asked = false; sigwait(set, &number) == 0;) {
        if (!atomic_load(&saves)) {
            log_line("stopped by %s before the first step: there is nothing new to save", stop_name(number));
            _exit(128 + number);
        }
        bool asks = number == SIGINT || number == SIGTERM;
        if (asks && asked) kill_self(number, set);
        asked |= asks;
        stop_request(number);
    }
    return NULL;
}

status stop_open(void) {
    static sigset_t set;
    pthread_t thread;
    sigemptyset(&set);
    for (int i = 0; i < SIGNALS; i++)
        if (signals[i].number != SIGHUP || !ignored(SIGHUP)) sigaddset(&set, signals[i].number);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int code = pthread_create(&thread, NULL, wait_for_signals, &set);
    if (code) FAIL(MEM, "cannot start the thread for signals: %s", strerror(code));
    pthread_detach(thread);
    return STATUS_OK;
}

bool stop_is_tested(void) { return getenv("TALLY_STOP_AT_LOOK") != NULL; }

void stop_wait_for_save(void) {
    const char *test = getenv("TALLY_STOP_AT_LOOK");
    looks_left = test ? atol(test) : 0;
    atomic_store(&saves, true);
}

int stop_signal(void) {
    if (looks_left && --looks_left == 0) stop_request(SIGTERM);
    return atomic_load(&requested);
}

void stop_request(int number) {
    int none = 0;
    atomic_compare_exchange_strong(&requested, &none, number); /* the first signal decides the exit code */
}

const char *stop_name(int number) {
    for (int i = 0; i < SIGNALS; i++)
        if (signals[i].number == number) return signals[i].name;
    return "a signal";
}
