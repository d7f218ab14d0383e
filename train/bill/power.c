#include "train/bill/power.h"

#include <math.h>

const power_rates power_unknown = {NAN, NAN, NAN, NAN};

static double or_zero(double x) { return isnan(x) ? 0 : x; }

void power_entries(double of[POWER_ENTRIES], const power_rates *r, double devices_j, double seconds) {
    double host = r->host_watts * seconds;
    double computers = devices_j + or_zero(host);
    double overhead = (r->pue - 1) * computers;
    double kwh = (computers + or_zero(overhead)) / 3.6e6;
    of[POWER_HOST_J] = host;
    of[POWER_OVERHEAD_J] = overhead;
    of[POWER_KG_CO2] = r->kg_per_kwh * kwh;
    of[POWER_USD] = r->usd_per_kwh * kwh;
}
