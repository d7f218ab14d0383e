/* How long this process has existed, and for how much of that time it was stopped.
 *
 * The clock is CLOCK_BOOTTIME: it also runs while the machine is suspended, and it is never set. Time counts from the start of
 * the process, before main: loading the libraries takes time too. A process is stopped by SIGSTOP, Ctrl-Z, a frozen cgroup
 * or a suspended machine. lifetime_watch measures that; without it, lifetime_stopped_ns stays 0. */
#ifndef TALLY_LIFETIME_H
#define TALLY_LIFETIME_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

/* Call it first in main. Records the start and blocks SIGCONT, which only the watch's thread receives. Every other thread must
 * block it; a new thread inherits the blocked signals of the thread that creates it. */
void lifetime_begin(void);

uint64_t lifetime_now_ns(void);
/* When this process started. The time in /proc is used if it is less than 30 s before the first call of a function here;
 * otherwise that call counts as the start: a shell may have waited before it ran this program by exec. */
uint64_t lifetime_start_ns(void);
uint64_t lifetime_stopped_ns(void); /* up to the last tick of the watch */

/* Starts a thread that ticks every 10 ms at first and every 100 ms when the process is older. It calls `each`, unless that is
 * NULL, at every tick. A process can have one watch at a time. */
status lifetime_watch(void (*each)(void *), void *argument);
void lifetime_watch_end(void); /* ends the thread, if there is one */

/* One tick of the watch; for tests. */
typedef struct {
    uint64_t boot_ns, monotonic_ns, cpu_ns; /* cpu: of all threads of this process */
} lifetime_sample;
typedef struct {
    lifetime_sample last;
    uint64_t late_ns; /* of the last tick, while the cause is not known */
} lifetime_ticks;

/* For how much of the time since the last tick the process was stopped. period_ns: the planned length of the tick; continued:
 * SIGCONT has been received; cpus: how many CPUs the process can use at once.
 * Suspended: the time by which the boot clock advanced more than the monotonic clock. Stopped: the delay of the tick, if
 * SIGCONT proves it. A late tick alone proves nothing, because the machine may be busy. But if it is late by more than 10 s
 * and the process used no more CPU time than it could have used before the delay, the process was frozen. */
uint64_t lifetime_tick(lifetime_ticks *t, lifetime_sample now, uint64_t period_ns, bool continued, int cpus);

#endif
