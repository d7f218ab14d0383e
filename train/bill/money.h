/* What devices cost per hour, and what failures cost. Pure arithmetic in double; inputs are checked by money_check. */
#ifndef TALLY_MONEY_H
#define TALLY_MONEY_H

#include "runtime/status.h"

/* Devices that are owned, not rented: all figures are of one device with its share of server, network and building. */
typedef struct {
    double capex_usd;         /* NAN: not owned */
    double salvage;           /* share of capex_usd that is left after `years`, in [0, 1) */
    double years;             /* of service, > 0 */
    double rate;              /* interest per year, >= 0: 0.05 is 5% */
    double opex_usd_per_hour; /* staff, space, repairs: all but power; of each hour that passes, used or not */
    double utilisation;       /* share of the hours in which it works for somebody, in (0, 1] */
} money_owned;

enum { MONEY_HOURS_PER_YEAR = 8760 };

/* ARG: names the option (--capex, --salvage, --years, --interest, --opex, --utilisation), the value and what is allowed */
status money_check(const money_owned *o);

/* Capital recovery factor: the equal yearly payment that repays 1 over n years at interest i.
 *   CRF(i, n) = i (1+i)^n / ((1+i)^n - 1);   1/n if i is 0 */
double money_capital_recovery(double rate, double years);

/* One hour of use of one device, without its power:
 *   [capex (1 - salvage) CRF(i, years) / 8760 + opex] / utilisation */
double money_owned_usd_per_hour(const money_owned *o);

/* Power of one hour: watts / 1000 * PUE * usd_per_kwh. Rent includes it; owned machines pay it on top. PUE (power usage
 * effectiveness) is all power of the building divided by that of its computers, >= 1. */
double money_power_usd_per_hour(double watts, double pue, double usd_per_kwh);

/* Share of the time that makes progress which is kept:
 *   1 - d/tau - tau/(2M) - R/M
 * d seconds of a checkpoint, tau between checkpoints, R to restart, M mean time between failures of the whole job: that of one
 * device divided by the number of devices. M may be INFINITY. First order in d/tau and tau/M (Young 1974): d, tau and R must be
 * small against M. A result of 0 or less: the job does not end. */
double money_goodput(double checkpoint_s, double interval_s, double restart_s, double mtbf_s);

/* The interval with the highest goodput: sqrt(2 d M) (Young 1974). INFINITY without failures. */
double money_best_interval(double checkpoint_s, double mtbf_s);

#endif
