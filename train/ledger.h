/* The bill: every second of the run booked once (runtime/meter.h), joules, and money. It survives resume.
 *
 *   usd = usd_per_hour * wall seconds / 3600         usd_per_hour of the device as a whole
 * RUN/ledger.json: step, tokens, wall_s, energy_j, energy_source, usd, usd_per_mtok (usd / tokens * 1e6),
 * price_usd_per_hour, price_source; bookings {useful_s, recompute_s, ...} in seconds, which add up to wall_s, booked_ns the
 * same in exact nanoseconds, usd_by_booking the same in money. Unknown is null. */
#ifndef TALLY_LEDGER_H
#define TALLY_LEDGER_H

#include "train/checkpoint.h"
#include "train/energy.h"

typedef struct {
    meter time;
    double usd_per_hour; /* NaN: not known */
    char price_source[256];
    double watts; /* of the whole device, where energy is estimated from it */
    char watts_source[256];
    energy_meter *energy;
    double energy_before_j; /* of earlier attempts */
} ledger;

/* Starts booking start-up. price: usd per device-hour, NaN for the dated table; watts: of the whole device, 0 for the table. */
status ledger_open(ledger *l, const device *dev, double price, double watts);
void ledger_close(ledger *l);

double ledger_wall_s(const ledger *l); /* as of the last booking */
double ledger_usd(const ledger *l);    /* NaN without a price */
double ledger_energy_j(ledger *l);

status ledger_write(ledger *l, const char *run, const progress *p);

/* Takes over from an earlier attempt that had reached checkpoint p: its bookings as of then (from ledger.json where that
 * was written after the checkpoint), and what it spent later, up to last_wall_s and last_energy_j, as lost work. */
status ledger_resume(ledger *l, const char *run, const progress *p, double last_wall_s, double last_energy_j);

#endif
