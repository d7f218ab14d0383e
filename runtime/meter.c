#include "runtime/meter.h"

#include <time.h>

#include "runtime/lifetime.h"

uint64_t meter_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void meter_start(meter *m, booking first) {
    m->since_ns = lifetime_now_ns();
    m->stopped_ns = lifetime_stopped_ns();
    m->current = m->last = first;
}

void meter_start_at_birth(meter *m, booking first) {
    m->since_ns = lifetime_start_ns();
    m->current = m->last = first;
}

/* The watch may report a stop only after the bookings during which it happened have ended. The booking that ends now took ns
 * and can contain at most that much of the stop; the rest is taken from the booking before it. */
static void take_stopped(meter *m, booking ended, uint64_t ns) {
    uint64_t all = lifetime_stopped_ns(), left = all - m->stopped_ns, had = m->booked_ns[BOOK_STOPPED];
    if (!left || ended == BOOK_STOPPED) return;
    meter_move(m, ended, BOOK_STOPPED, left < ns ? left : ns);
    const booking from[] = {m->last, BOOK_USEFUL, ended};
    for (int i = 0; i < 3; i++) meter_move(m, from[i], BOOK_STOPPED, left - (m->booked_ns[BOOK_STOPPED] - had));
    m->stopped_ns += m->booked_ns[BOOK_STOPPED] - had;
}

booking meter_book(meter *m, booking to) {
    booking ended = m->current;
    uint64_t now = lifetime_now_ns(), ns = now - m->since_ns;
    m->booked_ns[ended] += ns;
    take_stopped(m, ended, ns);
    m->since_ns = now;
    if (to != ended) m->last = ended;
    m->current = to;
    return ended;
}

void meter_settle(meter *m) { meter_book(m, m->current); }

void meter_move(meter *m, booking from, booking to, uint64_t ns) {
    if (ns > m->booked_ns[from]) ns = m->booked_ns[from];
    m->booked_ns[from] -= ns;
    m->booked_ns[to] += ns;
}

uint64_t meter_total_ns(const meter *m) {
    uint64_t sum = 0;
    for (int b = 0; b < BOOKINGS; b++) sum += m->booked_ns[b];
    return sum;
}

const char *meter_booking_key(booking b) {
    static const char *const keys[] = {
#define X(code, key, label) key,
        BOOKING_LIST(X)
#undef X
    };
    return keys[b];
}

const char *meter_booking_label(booking b) {
    static const char *const labels[] = {
#define X(code, key, label) label,
        BOOKING_LIST(X)
#undef X
    };
    return labels[b];
}
