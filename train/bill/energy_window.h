/* Joules of a step, from counters that move on only every 100 ms or so: NVML's. They are taken over windows of at least a second,
 * which several short steps share: a step gets the window's mean power times its own time. Before the first window is
 * full, a step's joules are what the counter moved in it, and the window is the step: below a second that is coarse. */
#ifndef TALLY_ENERGY_WINDOW_H
#define TALLY_ENERGY_WINDOW_H

#include "train/bill/energy.h"

typedef struct {
    uint64_t since_ns; /* of the window that is being filled; 0: none yet */
    double since_j;
    double watts, seconds; /* of the last full window; seconds 0: none yet */
} energy_window;

/* The step that ends now took step_s and moved the counter by step_j up to now_j; returns its joules. *over_s: the window
 * they were taken over; INFINITY where the source is not NVML, whose joules of any step are as good as its counter. */
double energy_window_step(energy_window *w, energy_kind kind, uint64_t now_ns, double now_j, double step_j,
                          double step_s, double *over_s);

#endif
