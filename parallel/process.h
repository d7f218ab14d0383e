/* Who the process of a rank is, as another rank of the same host can look it up. Flat: ranks send it to each other. */
#ifndef TALLY_PROCESS_H
#define TALLY_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char host[64];
    char boot[40];  /* of the kernel that runs it: tells hosts of the same name apart; "" where it is not told */
    uint64_t space; /* in which its process number counts (a container may have its own); 0 where it is not told */
    uint64_t start; /* of the process, in ticks since that boot: a process number can be given anew; 0: unknown */
    int64_t pid;
} process;

process process_self(void);
bool process_same_host(const process *a, const process *b);

/* Whether `p` can be looked up from the process `self`, and is no longer running: ended, or its end not yet collected.
 * false where it cannot be told. */
bool process_gone(const process *p, const process *self);

#endif
