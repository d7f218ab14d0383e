/* The bill of a run: every second booked once (runtime/meter.h), energy and money. It survives a resume.
 *
 *   usd = cost of earlier attempts + usd_per_hour * wall seconds of this attempt / 3600
 *
 * usd_per_hour is the price of the devices of all ranks in this attempt. Where power is billed by the kWh (devices that are
 * owned), the cost of the attempt's power (power.h) is added, and each booking has a part of it in proportion to its time. Earlier attempts keep the cost they had, with their
 * own ranks and price; where that cost is unknown, this attempt's price applies to their time.
 * A GPU shared by several ranks is billed once, and its energy is counted once.
 * Every rank books its own time. A booking of the run is the mean over ranks, so the bookings add up to the wall time, and
 * times the price to the bill. Energy is summed over ranks.
 * Time counts from the start of the process. Time in which the process was stopped costs as much as other time, because the
 * rent goes on.
 *
 * RUN/ledger.json holds step, tokens, ranks, wall_s, energy_source, usd, usd_per_mtok (usd / tokens * 1e6),
 * price_usd_per_hour (without such power), price_source; grid, a text, of this attempt; bookings {useful_s, recompute_s, ...} in seconds, which add up to wall_s; and the keys of
 * spent.h. Unknown is null. The energy of the run is unknown where that of any attempt or rank is. */
#ifndef TALLY_LEDGER_H
#define TALLY_LEDGER_H

#include "parallel/comm.h"
#include "train/bill/energy.h"
#include "train/bill/grid.h"
#include "train/bill/money.h"
#include "train/bill/spent.h"

/* What one rank's machine costs. NaN: not known, or not asked for. */
typedef struct {
    double usd_per_hour; /* of its device; NaN: that of the hardware table */
    money_owned owned;   /* capex_usd is not NaN: the device is owned, and this is its price */
    double watts;        /* of its device; 0: that of the hardware table */
    double host_watts;   /* of its host beside the devices; counted once for all ranks of the host */
    double pue, usd_per_kwh;
    grid grid; /* country is NULL: carbon is not asked for */
} ledger_terms;

/* One rank's part of the ledger. Ranks exchange it. */
typedef struct {
    uint64_t ns[BOOKINGS]; /* in this attempt */
    double joules;         /* in this attempt */
    spent before;          /* in earlier attempts, on the rank that resumed the ledger; zero on the others */
} ledger_part;

typedef struct {
    meter time; /* of this rank in this attempt */
    comm *world;
    double usd_per_hour; /* of all ranks; NaN: unknown */
    char price_source[256];
    bool gpu_counted;      /* an earlier rank has the same GPU: it is billed and read there */
    int estimating;        /* number of ranks whose energy is TDP times time, because there is no counter to read */
    energy_kind energy_of; /* of the sum: the least certain kind of any rank */
    double watts;          /* summed over the devices of those ranks */
    char watts_source[256];
    energy_meter *energy;
    power_rates rates; /* host_watts: of all hosts */
    grid grid;
    double power_usd_per_hour; /* mean of this attempt up to the last ledger_sum; 0 where power is not billed */
    spent before;              /* see ledger_part */
    spent total;               /* of the run, as of the last ledger_sum; usd is NaN without a price */
} ledger;

/* Keeps l->time, which the caller must have started. Collective. ARG: power is to be billed and the energy is not known. */
status ledger_open(ledger *l, const device *dev, comm *world, const ledger_terms *terms);
void ledger_close(ledger *l);

/* This rank's part, up to now. */
ledger_part ledger_mine(ledger *l);
/* Sets l->total from the parts of all ranks, which lie `stride` bytes apart in the order of ranks. */
void ledger_sum(ledger *l, const ledger_part *parts, size_t stride);

double ledger_wall_s(const ledger *l);             /* of l->total */
double ledger_usd(const ledger *l);                /* of l->total; NaN without a price */
double ledger_usd_per_hour(const ledger *l);       /* at present, with power that is billed; NaN without a price */
const char *ledger_energy_source(const ledger *l); /* name of l->energy_of */
double ledger_energy_now_j(ledger *l);             /* of this rank in this attempt */

/* Replaces RUN/ledger.json by l->total. */
status ledger_write(const ledger *l, const char *run, uint64_t step, uint64_t tokens);

/* Resumes the bill of a run from its checkpoint at `step`. *then is what the checkpoint holds; ledger.json, where it was
 * written for the same step, replaces it. What the run spent after that, up to *last, is booked as lost work, and the time in
 * which it was stopped as stopped. Call it on one rank; ledger_sum adds it to the total of all ranks. */
status ledger_resume(ledger *l, const char *run, uint64_t step, const spent *then, const spent_totals *last);

/* Passes l->total to heartbeat_update. own_joules: this rank's part of its energy. */
void ledger_heartbeat(const ledger *l, double own_joules);

#endif
