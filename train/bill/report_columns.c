#include "train/bill/report_columns.h"

#include <math.h>

static const struct {
    const char *key;
    double factor;
} column[] = {
#define X(code, key, factor) {key, factor},
    REPORT_COLUMN_LIST(X)
#undef X
};

static double possible(double v) { return fabs(v) < 1e18 ? v : NAN; }

double report_columns_number(const json_t *object, const char *key) {
    return possible(json_number_or_nan(json_object_get(object, key)));
}

static double booked(const json_t *line, int b) {
    const json_t *usd = json_object_get(line, "usd_by_booking");
    const char *key = meter_booking_key((booking)b);
    if (json_is_object(usd) && !json_object_get(usd, key)) return 0;
    return report_columns_number(usd, key);
}

double report_columns_value(const json_t *line, report_column c) {
    double step_ms = report_columns_number(line, "step_ms");
    if (!(step_ms > 0)) step_ms = NAN;
    if (c >= REPORT_BOOKING) return booked(line, (int)c - REPORT_BOOKING);
    if (c == REPORT_WATTS) return possible(report_columns_number(line, "energy_j") / step_ms * 1e3);
    if (c == REPORT_WAITING && !(report_columns_number(line, "ranks") > 1)) return NAN;
    if (c == REPORT_WAITING) return possible(100 * report_columns_number(line, "exposed_ms") / step_ms);
    return possible(report_columns_number(line, column[c].key) * column[c].factor);
}
