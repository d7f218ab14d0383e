/* Power of whole machines. A counter of devices sees neither their host nor cooling and conversion; these are named entries of
 * the bill:
 *   host_j     = host_watts * seconds
 *   overhead_j = (PUE - 1) * (devices_j + host_j)
 *   kg_co2     = kg_per_kwh * kWh,  usd = usd_per_kwh * kWh,  kWh = (devices_j + host_j + overhead_j) / 3.6e6
 * PUE (power usage effectiveness) is all power of the building divided by that of its computers. An entry whose rate is not
 * known is NaN, and the sums go over the entries that are known. Where the energy of the devices is not known, nothing but host_j
 * is. */
#ifndef TALLY_POWER_H
#define TALLY_POWER_H

enum { POWER_HOST_J, POWER_OVERHEAD_J, POWER_KG_CO2, POWER_USD, POWER_ENTRIES };

/* NaN: not known, or not asked for */
typedef struct {
    double host_watts;  /* of all hosts together, beside their devices */
    double pue;         /* >= 1 */
    double kg_per_kwh;  /* see grid.h */
    double usd_per_kwh; /* of devices that are owned; rent includes power */
} power_rates;

extern const power_rates power_unknown;

void power_entries(double of[POWER_ENTRIES], const power_rates *r, double devices_j, double seconds);

#endif
