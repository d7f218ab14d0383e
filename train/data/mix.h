/* From which source each window of a run is taken. Window by window, the source that lags most behind its share is next, so that
 * the counts never differ from the shares by more than a few windows, in any part of the run. No random number is used: the
 * position decides everything. */
#ifndef TALLY_MIX_H
#define TALLY_MIX_H

#include "runtime/tensor.h"

enum { MIX_SOURCES = 64 };

typedef struct {
    int count;
    uint64_t share[MIX_SOURCES], shares; /* integers, so that every machine computes the same; shares: their sum */
} mix;

/* How many windows a run has used, in all and of each source. */
typedef struct {
    i64 windows, used[MIX_SOURCES];
} mix_position;

/* weights: more than 0; only their ratios count */
mix mix_init(const double *weights, int count);
/* the source of the next window; counts that window */
int mix_next(const mix *m, mix_position *p);

#endif
