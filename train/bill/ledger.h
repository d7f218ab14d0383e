/* The bill: every second of the run booked once (runtime/meter.h), joules, and money. It survives resume.
 *
 *   usd = what earlier attempts cost + usd_per_hour * wall seconds of this one / 3600
 * usd_per_hour is of the devices of all ranks of this attempt. What earlier ones cost stays, whatever their ranks and price;
 * where that is not known, their seconds cost what this one's do.
 * Ranks that share a GPU pay for it, and count its joules, once.
 * Of several ranks each books its own time: a booking of the run is the mean over ranks, so that all of them add up to the
 * wall time, and times the price to the bill. Joules are summed.
 * It counts from the start of the process. Time in which it was stopped costs what other time does: the rent goes on.
 * RUN/ledger.json: step, tokens, ranks, wall_s, energy_j, energy_source, usd, usd_per_mtok (usd / tokens * 1e6),
 * price_usd_per_hour, price_source; bookings {useful_s, recompute_s, ...} in seconds, which add up to wall_s, booked_ns the
 * same in exact nanoseconds, usd_by_booking the same in money. Unknown is null; the energy of a run is unknown where that of any
 * attempt or rank is. */
#ifndef TALLY_LEDGER_H
#define TALLY_LEDGER_H

#include "parallel/comm.h"
#include "train/bill/energy.h"
#include "train/bill/spent.h"

/* a rank's: what it has spent in this attempt, and what earlier ones had, where it knows it (else 0) */
typedef struct {
    uint64_t ns[BOOKINGS];
    double joules;
    spent before;
} ledger_part;

typedef struct {
    meter time; /* this rank's, of this attempt */
    comm *world;
    double usd_per_hour; /* of all ranks; NaN: not known */
    char price_source[256];
    bool gpu_counted;      /* this rank's GPU is an earlier rank's too, which pays for it and reads its counters */
    int estimating;        /* ranks whose energy is TDP times time, for want of anything to read */
    energy_kind energy_of; /* the least certain that is of any rank: of the sum */
    double watts;          /* of their devices, all together */
    char watts_source[256];
    energy_meter *energy;
    spent before; /* in earlier attempts; zero on the ranks that did not resume the ledger */
    spent total;  /* of the run, as of the last ledger_sum; usd is NaN without a price */
} ledger;

/* Goes on with l->time, which the caller has started. price: usd per device-hour, NaN for the dated table; watts: of this
 * rank's device, 0 for the table's.
 * All ranks together. */
status ledger_open(ledger *l, const device *dev, comm *world, double price, double watts);
void ledger_close(ledger *l);

/* What this rank has to say, up to now; and what all of them have said, `stride` bytes apart, in the order of ranks. */
ledger_part ledger_mine(ledger *l);
void ledger_sum(ledger *l, const ledger_part *parts, size_t stride);

/* of the run, as of the last ledger_sum */
double ledger_wall_s(const ledger *l);
double ledger_usd(const ledger *l); /* NaN without a price */

const char *ledger_energy_source(const ledger *l); /* of the sum */
double ledger_energy_now_j(ledger *l);             /* this rank's, of this attempt */

status ledger_write(const ledger *l, const char *run, uint64_t step, uint64_t tokens);

/* Takes over from an earlier attempt that had reached checkpoint p: its bookings as of then (from ledger.json where that
 * was written after the checkpoint), and what it spent later, up to `last`, as lost work. On one rank; the others learn it by
 * ledger_sum. stopped_ns: of what it spent in all, how long it was stopped. */
status ledger_resume(ledger *l, const char *run, uint64_t step, const spent *then, const spent_totals *last);

/* tells the heartbeat (heartbeat.h) of the run as of the last ledger_sum, of which own_joules are this rank's */
void ledger_heartbeat(const ledger *l, double own_joules);

#endif
