/* One GPU through NVIDIA's management library, found when the program runs: what it has spent, how fast it runs, and what
 * holds it back. Nothing of NVML is needed to build.
 *
 * The energy counter is of the whole GPU, of whoever uses it, also where this process has a slice of it (MIG). It moves on
 * every 100 ms or so: a difference of two readings is right to within that. Volta and newer have it; else
 * NVML tells the power of the moment (on some GPUs the mean of the last second), to be summed over time by the caller. */
#ifndef TALLY_NVML_H
#define TALLY_NVML_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

#define NVML_LIBRARY "libnvidia-ml.so.1"

/* Flat: ranks send it to each other. -1: not told. */
typedef struct {
    bool known; /* false: there is no NVML to ask */
    bool reasons_known;
    uint64_t reasons; /* what holds the clocks down: train/bill/throttle.h */
    int sm_mhz, sm_max_mhz, memory_mhz, memory_max_mhz, temperature_c;
} nvml_state;

typedef struct nvml nvml;

/* pci: "0000:3b:00.0". DEVICE, with one line that names library or GPU, where there is no library, no driver behind it, no
 * such GPU, or one that tells neither energy nor power. */
status nvml_open(nvml **n, const char *library, const char *pci);
void nvml_close(nvml *n);
bool nvml_counts_energy(const nvml *n); /* else it tells power */

/* Joules since the driver was loaded, or watts of now. false: not told this time. */
bool nvml_joules(nvml *n, double *joules);
bool nvml_watts(nvml *n, double *watts);
nvml_state nvml_look(nvml *n);

/* of several GPUs: the lowest clocks, the highest temperature, all reasons; known where any is */
void nvml_merge(nvml_state *all, const nvml_state *one);

#endif
