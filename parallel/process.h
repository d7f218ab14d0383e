/* The identity of a process, by which another process of the same host can check whether it still runs. It has no pointers, so
 * ranks can exchange it. */
#ifndef TALLY_PROCESS_H
#define TALLY_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char host[64];
    char boot[40];  /* boot id of the kernel, which distinguishes hosts of the same name; "": not known */
    uint64_t space; /* its PID namespace (a container may have its own), or 0 if that is not known */
    uint64_t start; /* start time in ticks since that boot, since a PID can be reused; 0 if not known */
    int64_t pid;
} process;

process process_self(void);
bool process_same_host(const process *a, const process *b);

/* Whether `p` no longer runs: it has ended, or is a zombie. false if the process `self` cannot know that: another host, another
 * PID namespace, no /proc. */
bool process_gone(const process *p, const process *self);

#endif
