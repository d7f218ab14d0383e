/* What the run has spent: FLOPs, counted at every GEMM and attention call, and seconds, each booked once.
 *
 * FLOPs are multiply-adds counted as 2, for the mathematical shapes (no padding; only the lower triangle of causal attention).
 * Work kinds: forward, recompute (forward work repeated in backward: checkpointed blocks, and flash attention's
 * scores), dgrad (gradient of an activation), wgrad (gradient of a weight).
 *   model FLOPs    = forward + dgrad + wgrad           (the same with and without recomputation)
 *   executed FLOPs = model FLOPs + recompute
 *
 * Seconds: meter_book(m, to) ends the running booking and starts `to`; the bookings add up to wall time by construction. Time
 * in which the process was stopped or the machine suspended (runtime/lifetime.h) is moved to its own booking when it is known. */
#ifndef TALLY_METER_H
#define TALLY_METER_H

#include <stdint.h>

#include "runtime/tensor.h"

typedef enum { WORK_FORWARD, WORK_RECOMPUTE, WORK_DGRAD, WORK_WGRAD, WORK_KINDS } work_kind;

typedef struct {
    u128 work[WORK_KINDS];
} flop_counter;

static inline u128 meter_flops_model(const flop_counter *c) {
    return c->work[WORK_FORWARD] + c->work[WORK_DGRAD] + c->work[WORK_WGRAD];
}
static inline u128 meter_flops_executed(const flop_counter *c) {
    return meter_flops_model(c) + c->work[WORK_RECOMPUTE];
}

/* key in ledger.json, label in the log and the report */
#define BOOKING_LIST(X)                                                                                                \
    X(USEFUL, "useful_s", "useful compute")                                                                            \
    X(RECOMPUTE, "recompute_s", "recompute")                                                                           \
    X(COMMUNICATION, "exposed_communication_s", "exposed communication")                                               \
    X(DATA, "data_wait_s", "data wait")                                                                                \
    X(EVALUATION, "evaluation_s", "evaluation")                                                                        \
    X(CHECKPOINT, "checkpoint_s", "checkpoint")                                                                        \
    X(STARTUP, "startup_s", "start-up")                                                                                \
    X(LOST, "lost_s", "lost work")                                                                                     \
    X(STOPPED, "stopped_s", "stopped")

typedef enum {
#define X(code, key, label) BOOK_##code,
    BOOKING_LIST(X)
#undef X
        BOOKINGS
} booking;

typedef struct {
    uint64_t booked_ns[BOOKINGS];
    uint64_t since_ns;   /* when the running booking began, on the clock of lifetime.h; 0 before the start */
    uint64_t stopped_ns; /* the part of lifetime_stopped_ns that is booked */
    booking current, last;
} meter;

uint64_t meter_clock_ns(void); /* monotonic */

void meter_start(meter *m, booking first);
void meter_start_at_birth(meter *m, booking first); /* counts from the start of the process */
booking meter_book(meter *m, booking to);           /* returns the booking that ended, for a later return to it */
void meter_settle(meter *m);                        /* books the time up to now; the same booking continues */
/* Moves up to ns from the booking `from` to `to`: for times that a device's clock gives afterwards. */
void meter_move(meter *m, booking from, booking to, uint64_t ns);
uint64_t meter_total_ns(const meter *m); /* sum of all bookings, as of the last book or settle */

const char *meter_booking_key(booking b);
const char *meter_booking_label(booking b);

#endif
