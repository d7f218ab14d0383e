/* How much of the machine this process got since it started: what other processes, or more threads than CPUs, took from it. */
#ifndef TALLY_CONTENTION_H
#define TALLY_CONTENTION_H

#include <stdint.h>

typedef struct {
    double cpu_s;         /* CPU time of all threads */
    double waited_s;      /* threads that exist now: ready to run, but without a CPU; NAN: not known */
    int64_t switches;     /* a thread lost its CPU to another one */
    int64_t major_faults; /* a page had to be read from a disk */
    double swapped_bytes; /* now; NAN: not known */
} contention;

contention contention_now(void);

#endif
