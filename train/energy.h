/* Joules since energy_open: RAPL package counters on the CPU (/sys/class/powercap), else TDP times time, which is an
 * estimate and is called so. RAPL counts whole packages, so also what others run on them. A counter wraps around after
 * minutes to hours: one wrap between two readings is handled, so read every step. Of the ranks of a host one reads its
 * counters, the first; for the others they count 0, so that the sum over ranks is what was spent. Estimates are each rank's
 * own. */
#ifndef TALLY_ENERGY_H
#define TALLY_ENERGY_H

#include "runtime/device.h"

typedef struct energy_meter energy_meter;

/* tdp_watts: of the whole device, for the estimate */
status energy_open(energy_meter **e, const device *dev, double tdp_watts, bool first_of_host);
/* with another folder in the place of /sys/class/powercap, for tests */
status energy_open_at(energy_meter **e, const char *root, const device *dev, double tdp_watts, bool first_of_host);
double energy_joules(energy_meter *e);
const char *energy_source(const energy_meter *e); /* "rapl", or "tdp-estimated" */
void energy_close(energy_meter *e);

#endif
