#include "runtime/meter.h"

#include <time.h>

uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void meter_start(meter *m, booking first) {
    m->since_ns = clock_ns();
    m->current = first;
}

booking meter_book(meter *m, booking to) {
    booking ended = m->current;
    uint64_t now = clock_ns();
    m->booked_ns[ended] += now - m->since_ns;
    m->since_ns = now;
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

const char *booking_key(booking b) {
    static const char *const keys[] = {
#define X(code, key, label) key,
        BOOKING_LIST(X)
#undef X
    };
    return keys[b];
}

const char *booking_label(booking b) {
    static const char *const labels[] = {
#define X(code, key, label) label,
        BOOKING_LIST(X)
#undef X
    };
    return labels[b];
}
