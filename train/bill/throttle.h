/* What holds a GPU's clocks down, as NVML tells it: its names, and lines of the log when trouble begins and ends. */
#ifndef TALLY_THROTTLE_H
#define TALLY_THROTTLE_H

#include <stddef.h>

#include "train/bill/nvml.h"

/* names of `reasons`, with commas between; "none" of 0 */
typedef struct {
    char text[160];
} throttle_text;
throttle_text throttle_names(uint64_t reasons);

/* A look a step: says when a GPU begins to be held back by anything that is trouble, and when none is any more; that one
 * has reached its power limit, which under load is how an SXM part should run, it says once a run. Zero-initialised. */
typedef struct {
    uint64_t lasting; /* trouble that was there at the last look, on any rank */
    bool capped;      /* the power limit has been said */
} throttle_watch;
/* first: of rank 0; the others' `stride` bytes apart */
void throttle_look(throttle_watch *w, const nvml_state *first, size_t stride, int ranks);

#endif
