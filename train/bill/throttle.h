/* Why a GPU's clocks are below their maximum, from NVML's clock event reasons: their names, and log lines when a GPU begins and
 * stops being throttled. */
#ifndef TALLY_THROTTLE_H
#define TALLY_THROTTLE_H

#include <stddef.h>

#include "train/bill/nvml.h"

/* Names of the bits of `reasons`, with commas between; "none" for 0. */
typedef struct {
    char text[160];
} throttle_text;
throttle_text throttle_names(uint64_t reasons);

/* Call throttle_look once per step. It logs when any GPU begins to be throttled by a reason that needs attention, and when the
 * last one stops. That a GPU reaches its power limit is normal for an SXM GPU under load, and is logged once per run. */
typedef struct {
    uint64_t lasting; /* such reasons at the last look, on any rank */
    bool capped;      /* the power limit has been logged */
} throttle_watch;     /* zero-initialised */

/* first: state of rank 0; those of the other ranks follow, `stride` bytes apart */
void throttle_look(throttle_watch *w, const nvml_state *first, size_t stride, int ranks);

#endif
