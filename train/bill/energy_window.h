/* Energy of one step from NVML, whose counters advance only every 100 ms or so. Energy is taken over windows of at least a
 * second, which several short steps share: a step gets the mean power of the last full window times its own time. Until the
 * first window is full, a step gets what the counter advanced during it, and its window is the step. */
#ifndef TALLY_ENERGY_WINDOW_H
#define TALLY_ENERGY_WINDOW_H

#include "train/bill/energy.h"

typedef struct {
    uint64_t since_ns; /* start of the window that is being filled; 0: none yet */
    double since_j;
    double watts, seconds; /* of the last full window; seconds 0: none yet */
} energy_window;

/* Returns the joules of the step that ends now, which took step_s seconds and moved the counter by step_j to now_j.
 * *over_s: length of the window they were taken over. With another source than NVML it is INFINITY and step_j is returned. */
double energy_window_step(energy_window *w, energy_kind kind, uint64_t now_ns, double now_j, double step_j,
                          double step_s, double *over_s);

#endif
