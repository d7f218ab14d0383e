/* RUN/heartbeat: what the run has spent up to now. A thread of rank 0 writes it repeatedly, so that the next attempt can book
 * the time of a run that was killed (ledger_resume). It writes every 0.1% of the attempt's age, at least every 2 s, at most every 0.1 s.
 *
 * Two slots of 512 bytes (256 in earlier versions) are written in turn, in place and without fsync. Each holds a JSON object and a crc32 on one line:
 *   sequence        increases with every write; the intact slot with the larger one is valid
 *   wall_ns         of all attempts of the run; stopped_ns is the part of it in which the process was stopped
 *   usd, energy_j   of all attempts; null: unknown      usd_per_hour   of this attempt, without power that is billed by the kWh
 *   host_j, overhead_j, kg_co2, power_usd   of all attempts (power.h)
 * The file survives the death of the process, but not a crash of the machine. After that the time since the last checkpoint or
 * line of metrics.jsonl is lost. */
#ifndef TALLY_HEARTBEAT_H
#define TALLY_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "train/bill/energy.h"
#include "train/bill/spent.h"

/* false: there is no heartbeat, or no slot is intact; then *t is zero. */
bool heartbeat_read(spent_totals *t, const char *run);

/* Starts the thread, which also tracks the time in which this process is stopped (runtime/lifetime.h). */
status heartbeat_open(void);
/* Begins to write, on rank 0: what the file held plus the time of this attempt. Where it held nothing and `fresh` is false, the
 * run is older than heartbeats; then nothing is written until heartbeat_update. *earlier: what the file held, or zero. */
status heartbeat_begin(const char *run, bool fresh, spent_totals *earlier);
/* Sets the totals of the run as of now. own_joules: the part of now->joules that `energy` has counted; the thread reads `energy`
 * again between two calls. */
void heartbeat_update(const spent_totals *now, double usd_per_hour, const power_rates *rates, double own_joules,
                      energy_meter *energy);

typedef enum {
    HEARTBEAT_FORGET, /* the run has not begun: restore the file that heartbeat_begin found */
    HEARTBEAT_KEEP,   /* the time up to now counts */
    HEARTBEAT_SETTLED /* only the time up to the last heartbeat_update counts: the ledger holds it */
} heartbeat_ending;
void heartbeat_close(heartbeat_ending ending); /* call it before energy_close */

#endif
