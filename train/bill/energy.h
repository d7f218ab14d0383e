/* Energy since energy_open, in joules, from the best source that can be read:
 *   GPU    "nvml": its energy counter; "nvml-power (estimated)": its power, read once per step, times time
 *   CPU    "rapl": the energy counters of its packages (/sys/class/powercap)
 *   other  "tdp-estimated": TDP times time; the log says which source could not be read
 *          "unknown": there is no TDP either; joules are then NaN, never 0
 *
 * A counter covers the whole GPU or package, including what other processes use. Several ranks may share a counter: those of a
 * host, or those with the same GPU. The first of them reads it and the others count 0, so that the sum over ranks is right.
 * An estimate of a CPU is each rank's own.
 *
 * RAPL counters wrap around after minutes to hours. One wrap between two readings is handled, so read once per step. A counter
 * that decreases has wrapped if the energy this implies is below MOST_WATTS of a package; otherwise it was reset, and counts on
 * from there. A counter that jumps ahead is judged in the same way. A package may appear as several dies. If their counters
 * agree, they are the same counter (AMD), which counts once. */
#ifndef TALLY_ENERGY_H
#define TALLY_ENERGY_H

#include "runtime/device.h"
#include "train/bill/nvml.h"

typedef struct energy_meter energy_meter;

typedef enum { ENERGY_TDP, ENERGY_RAPL, ENERGY_NVML, ENERGY_NVML_POWER, ENERGY_UNKNOWN } energy_kind;

/* tdp_watts: TDP of this rank's share of the device, for the estimate. reads: this rank is the first of those that share the
 * host (CPU) or the GPU. */
status energy_open(energy_meter **e, const device *dev, double tdp_watts, bool reads);

/* The same with other sources than the machine's own, for tests. */
typedef struct {
    const char *powercap; /* folder */
    const char *nvml;     /* library */
    const char *pci;      /* bus id of the GPU */
} energy_places;
status energy_open_at(energy_meter **e, const energy_places *at, const device *dev, double tdp_watts, bool reads);

double energy_joules(energy_meter *e);
void energy_log(energy_meter *e);       /* logs the counter resets and jumps since the last call */
nvml_state energy_gpu(energy_meter *e); /* as of the last energy_joules; unknown where another rank reads the GPU */
energy_kind energy_kind_of(const energy_meter *e);
const char *energy_source(energy_kind kind); /* name in metrics.jsonl */
void energy_close(energy_meter *e);

#endif
