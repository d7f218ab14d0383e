#include "train/bill/spent.h"

#include <math.h>
#include <string.h>

spent_totals spent_total(const spent *s) {
    spent_totals t = {.stopped_ns = s->ns[BOOK_STOPPED], .joules = s->joules};
    for (int b = 0; b < BOOKINGS; b++) {
        t.ns += s->ns[b];
        t.usd += s->usd[b];
    }
    memcpy(t.power, s->power, sizeof t.power);
    return t;
}

status spent_write(json_t *o, const spent *s) {
    json_t *time = json_add_object(o, "booked_ns"), *money = json_add_object(o, "usd_by_booking");
    if (!time || !money) FAIL(MEM, "no memory for the bookings");
    for (int b = 0; b < BOOKINGS; b++) {
        const char *key = meter_booking_key((booking)b);
        TRY(json_add_u64(time, key, s->ns[b]));
        TRY(json_add_number_or_null(money, key, s->usd[b]));
    }
    TRY(json_add_number_or_null(o, "energy_j", s->joules));
    json_t *energy = json_add_object(o, "energy");
    if (!energy) FAIL(MEM, "no memory for the energy");
    TRY(json_add_number_or_null(energy, "devices_j", s->joules));
    TRY(json_add_number_or_null(energy, "host_j", s->power[POWER_HOST_J]));
    TRY(json_add_number_or_null(energy, "overhead_j", s->power[POWER_OVERHEAD_J]));
    TRY(json_add_number_or_null(o, "kg_co2", s->power[POWER_KG_CO2]));
    return json_add_number_or_null(o, "power_usd", s->power[POWER_USD]);
}

static status read_time(uint64_t *ns, booking b, const json_t *time, const char *path) {
    const char *key = meter_booking_key(b);
    *ns = 0;
    if (b == BOOK_STOPPED && !json_find(time, key)) return STATUS_OK;
    TRY(json_get_u64(time, path, key, ns));
    if (*ns > SPENT_MOST_NS)
        FAIL(DATA, "%s: \"%s\" of booked_ns is %lu, expected at most %lu (100 years)", path, key, *ns, SPENT_MOST_NS);
    return STATUS_OK;
}

static status read_money(double *usd, booking b, const json_t *money, const char *path) {
    const char *key = meter_booking_key(b);
    *usd = money && b == BOOK_STOPPED ? 0 : NAN;
    return money && json_find(money, key) ? json_get_double(money, path, key, usd) : STATUS_OK;
}

status spent_read(spent *s, const json_t *o, const char *path) {
    json_t *time, *money = json_find(o, "usd_by_booking");
    TRY(json_get_object(o, path, "booked_ns", &time));
    for (int b = 0; b < BOOKINGS; b++) {
        TRY(read_time(&s->ns[b], (booking)b, time, path));
        TRY(read_money(&s->usd[b], (booking)b, money, path));
    }
    const json_t *energy = json_object_get(o, "energy");
    s->power[POWER_HOST_J] = json_number_or_nan(json_object_get(energy, "host_j"));
    s->power[POWER_OVERHEAD_J] = json_number_or_nan(json_object_get(energy, "overhead_j"));
    s->power[POWER_KG_CO2] = json_number_or_nan(json_object_get(o, "kg_co2"));
    s->power[POWER_USD] = json_number_or_nan(json_object_get(o, "power_usd"));
    s->joules = NAN;
    return json_is_null(json_object_get(o, "energy_j")) ? STATUS_OK : json_get_double(o, path, "energy_j", &s->joules);
}
