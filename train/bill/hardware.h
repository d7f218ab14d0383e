/* Dated table of devices: dense peaks (never the doubled 2:4-sparse figures), power and prices, each with its source. What
 * is not in the table is not known: no peak is made up. */
#ifndef TALLY_HARDWARE_H
#define TALLY_HARDWARE_H

#include "runtime/device.h"

typedef struct {
    const char *match; /* substring of the device's own name */
    const char *name;
    double peak_bf16, peak_fp32; /* dense FLOP/s; 0: not given. fp32 on GPUs: without tensor cores */
    const char *peak_source;
    double tdp_watts; /* of one device; for CPUs of one hardware thread */
    const char *tdp_source;
    double usd_per_hour;      /* of one device; for CPUs of one hardware thread; 0: unknown */
    const char *price_source; /* with its date */
} hardware;

/* The entry of a device, or NULL. For a CPU that no entry names: the generic CPU entry, which has no peak. */
const hardware *hardware_find(const device *dev);

#endif
