/* Joules since energy_open, by the best that can be read:
 *   a GPU  "nvml" its energy counter; "nvml-power (estimated)" its power, read once a step, times time
 *   a CPU  "rapl" the counters of its packages (/sys/class/powercap)
 *   else   "tdp-estimated" TDP times time; what could not be read is said in the log
 *          "unknown" where there is no TDP either: joules are then NaN, never 0
 * Counters tell what was spent on the whole GPU or package, also by others. RAPL's wrap around after minutes to hours: one
 * wrap between two readings is handled, so read every step. A counter that falls back is a wrap only if what it would have
 * spent is below MOST_WATTS of a package; else it was reset, and goes on from there. A counter that jumps ahead is judged in
 * the same way. A package may show as several dies. Where their counters agree they are the same counter (AMD), which counts
 * once. Of the ranks that share a counter, those of a host or of a GPU, the first one reads it; for the others it counts 0, so
 * that the sum over ranks is what was spent. A CPU's estimates are each rank's own. */
#ifndef TALLY_ENERGY_H
#define TALLY_ENERGY_H

#include "runtime/device.h"
#include "train/bill/nvml.h"

typedef struct energy_meter energy_meter;

typedef enum { ENERGY_TDP, ENERGY_RAPL, ENERGY_NVML, ENERGY_NVML_POWER, ENERGY_UNKNOWN } energy_kind;

/* tdp_watts: of what this rank has of the device, for the estimate; reads: whether it is the first of the ranks that share
 * its host (CPU) or its GPU */
status energy_open(energy_meter **e, const device *dev, double tdp_watts, bool reads);

/* with others in the place of the machine's own, for tests */
typedef struct {
    const char *powercap; /* folder */
    const char *nvml;     /* library */
    const char *pci;      /* the GPU's bus id */
} energy_places;
status energy_open_at(energy_meter **e, const energy_places *at, const device *dev, double tdp_watts, bool reads);

double energy_joules(energy_meter *e);
void energy_log(energy_meter *e);       /* says what was not counted since the last call: resets, and jumps */
nvml_state energy_gpu(energy_meter *e); /* as of the last energy_joules; not known where this rank does not read it */
energy_kind energy_kind_of(const energy_meter *e);
const char *energy_source(energy_kind kind); /* its name */
void energy_close(energy_meter *e);

#endif
