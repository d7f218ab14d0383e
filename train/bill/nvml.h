/* One GPU through NVIDIA's management library (NVML): energy, clocks, temperature and clock event reasons. The library is
 * loaded at run time; the build needs nothing of NVML.
 *
 * The energy counter covers the whole GPU and all of its users, also where this process has only a MIG slice. It advances
 * every 100 ms or so, which bounds the error of a difference of two readings. Volta and newer have it. On older GPUs NVML only
 * reports power (on some GPUs the mean of the last second), which the caller must integrate over time. */
#ifndef TALLY_NVML_H
#define TALLY_NVML_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

#define NVML_LIBRARY "libnvidia-ml.so.1"

/* Ranks exchange it as bytes. -1: unknown. */
typedef struct {
    bool known; /* false: this rank reads no GPU */
    bool reasons_known;
    uint64_t reasons; /* bits: why the clocks are below their maximum, see throttle.h */
    int sm_mhz, sm_max_mhz, memory_mhz, memory_max_mhz, temperature_c;
} nvml_state;

typedef struct nvml nvml;

/* pci: "0000:3b:00.0". Fails with DEVICE where the library, the driver or the GPU is missing, or the GPU reports neither energy
 * nor power; the message names the library or the GPU. */
status nvml_open(nvml **n, const char *library, const char *pci);
void nvml_close(nvml *n);
bool nvml_counts_energy(const nvml *n); /* false: it only reports power */

/* Joules since the driver was loaded; watts now. false: NVML gave no value this time. */
bool nvml_joules(nvml *n, double *joules);
bool nvml_watts(nvml *n, double *watts);
nvml_state nvml_look(nvml *n);

/* Merges *one into *all: the lowest clocks, the highest temperature, all reasons; known where either is. */
void nvml_merge(nvml_state *all, const nvml_state *one);

#endif
