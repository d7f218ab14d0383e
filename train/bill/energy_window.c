#include "train/bill/energy_window.h"

#include <math.h>

double energy_window_step(energy_window *w, energy_kind kind, uint64_t now_ns, double now_j, double step_j,
                          double step_s, double *over_s) {
    *over_s = INFINITY;
    if (kind != ENERGY_NVML && kind != ENERGY_NVML_POWER) return step_j;
    if (!w->since_ns) {
        w->since_ns = now_ns - (uint64_t)(step_s * 1e9);
        w->since_j = now_j - step_j;
    }
    double filled_s = (double)(now_ns - w->since_ns) * 1e-9;
    if (filled_s >= 1) {
        w->watts = (now_j - w->since_j) / filled_s;
        w->seconds = filled_s;
        w->since_ns = now_ns;
        w->since_j = now_j;
    }
    *over_s = step_s >= 1 || !w->seconds ? step_s : w->seconds;
    return step_s >= 1 || !w->seconds ? step_j : w->watts * step_s;
}
