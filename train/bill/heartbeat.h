/* RUN/heartbeat: what the run has spent up to now, written again and again by a thread of rank 0, so that the time of a run that
 * is killed is booked by the next attempt (ledger_resume). The next write comes after 0.5% of the attempt's age, or after 2 s
 * where that is less.
 *
 * Two slots of 256 bytes are written in turn, in place and without a sync: each a JSON object and a crc32 on one line.
 *   sequence        counts up: the whole slot with the larger one holds
 *   wall_ns         of the run, all attempts together; of it stopped_ns in which the process stood still
 *   usd, energy_j   the same; null: not known      usd_per_hour   of this attempt
 * What a process writes survives its death, but not the machine's: then the time since the last checkpoint or line of
 * metrics.jsonl is lost. */
#ifndef TALLY_HEARTBEAT_H
#define TALLY_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "train/bill/energy.h"
#include "train/bill/spent.h"

/* false: there is none, or neither slot is whole. All zero then. */
bool heartbeat_read(spent_totals *t, const char *run);

/* From here on this process's time is watched (lifetime.h). */
status heartbeat_open(void);
/* Begins to write on rank 0: what the file has, and on top this attempt's time. Where it has nothing and `fresh` is false
 * the run is older than heartbeats: then only heartbeat_update begins. *earlier: what the file had, zero where nothing. */
status heartbeat_begin(const char *run, bool fresh, spent_totals *earlier);
/* The totals of the run as of now, of which own_joules are this process's, as `energy` tells them; the heartbeat's thread reads
 * it between two calls. */
void heartbeat_update(const spent_totals *now, double usd_per_hour, double own_joules, energy_meter *energy);

typedef enum {
    HEARTBEAT_FORGET, /* the run has not begun: the file is put back as heartbeat_begin found it */
    HEARTBEAT_KEEP,   /* the time up to now counts */
    HEARTBEAT_SETTLED /* what was told last is all: the ledger has it */
} heartbeat_ending;
void heartbeat_close(heartbeat_ending ending); /* before the energy meter is closed */

#endif
