/* What a run has spent: time and money of each booking (runtime/meter.h), energy and power. Checkpoints, the ledger and the heartbeat
 * share it, with one reader and one writer. */
#ifndef TALLY_SPENT_H
#define TALLY_SPENT_H

#include "runtime/json.h"
#include "runtime/meter.h"
#include "train/bill/power.h"

typedef struct {
    uint64_t ns[BOOKINGS];
    double usd[BOOKINGS]; /* NaN: unknown */
    double joules;        /* of the devices; NaN: unknown */
    double power[POWER_ENTRIES];
} spent;

/* The same, summed over bookings. */
typedef struct {
    uint64_t ns, stopped_ns; /* wall time, and how much of it the process was stopped */
    double usd, joules;      /* NaN: unknown */
    double power[POWER_ENTRIES];
} spent_totals;

/* The largest time of a booking that is accepted from a file: a century. Sums of all bookings then fit in 64 bits. */
#define SPENT_MOST_NS (UINT64_C(36525) * 86400 * 1000000000)

spent_totals spent_total(const spent *s);

/* Keys of progress.json and ledger.json: "booked_ns" and "usd_by_booking", objects with a key per booking; "energy_j" of the
 * devices; "energy" {"devices_j", "host_j", "overhead_j"}; "kg_co2"; and "power_usd", the part of the money that paid for power,
 * null for rented devices. Unknown is null, also all of power.h in a file of an earlier version. A file of an earlier version may lack "usd_by_booking": then all money is unknown; or the booking "stopped_s":
 * then it is 0. Errors of spent_read are DATA and name `path`. */
status spent_write(json_t *o, const spent *s);
status spent_read(spent *s, const json_t *o, const char *path);

#endif
