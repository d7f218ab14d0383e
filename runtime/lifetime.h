/* How long this process has lived, and how much of that it stood still.
 *
 * The clock is CLOCK_BOOTTIME: it goes on while the machine is suspended, and nobody sets it. A process lives from its start,
 * which is before main: loading the libraries is time too. It stands still while it is stopped (SIGSTOP, Ctrl-Z, a frozen
 * cgroup) or the machine is suspended. lifetime_watch finds that out; without it, lifetime_stopped_ns stays 0. */
#ifndef TALLY_LIFETIME_H
#define TALLY_LIFETIME_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

/* First of all in main: notes the start, and blocks SIGCONT, which the watch's thread takes. Every thread must have it blocked:
 * they inherit what is blocked where they are made. */
void lifetime_begin(void);

uint64_t lifetime_now_ns(void);
/* When this process started. What /proc tells is believed up to 30 s before the first call of any function here: a shell
 * that waits and then runs this program by exec started earlier. */
uint64_t lifetime_start_ns(void);
uint64_t lifetime_stopped_ns(void); /* up to the last tick of the watch */

/* Starts a thread that ticks every 10 ms at first and, as the process grows older, every 100 ms; `each` (may be NULL) is called
 * at every tick, in that thread. One at a time in a process. */
status lifetime_watch(void (*each)(void *), void *argument);
void lifetime_watch_end(void); /* waits for the thread; nothing to do where there is none */

/* One tick of the watch; for tests. */
typedef struct {
    uint64_t boot_ns, monotonic_ns, cpu_ns; /* cpu: of all threads of this process */
} lifetime_sample;
typedef struct {
    lifetime_sample last;
    uint64_t late_ns; /* of the last tick, where nothing has explained it yet */
} lifetime_ticks;

/* How much of the time since the last tick the process stood still. period_ns: how long the tick was to take; continued:
 * SIGCONT has come; cpus: how many CPUs the process can use at once.
 * Suspended: what the boot clock moved and the monotonic one did not. Stopped: by how much the tick is late, where SIGCONT
 * proves it. A late tick alone proves nothing: the machine may be busy. But where it is late by more than 10 s, and in
 * all that time the process got no more CPU time than it could have used before, it was frozen. */
uint64_t lifetime_tick(lifetime_ticks *t, lifetime_sample now, uint64_t period_ns, bool continued, int cpus);

#endif
