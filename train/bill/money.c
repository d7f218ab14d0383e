#include "train/bill/money.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

status money_check(const money_owned *o) {
    const struct {
        const char *name;
        double value, min, max;
        bool above, below; /* min, max are not allowed themselves */
    } limits[] = {
        {"capex", o->capex_usd, 0, 1e12, true, false},
        {"salvage", o->salvage, 0, 1, false, true},
        {"years", o->years, 0, 100, true, false},
        {"interest", o->rate, 0, 1, false, false},
        {"opex", o->opex_usd_per_hour, 0, 1e9, false, false},
        {"utilisation", o->utilisation, 0, 1, true, false},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        double v = limits[i].value, min = limits[i].min, max = limits[i].max;
        bool above = limits[i].above, below = limits[i].below;
        if (!(above ? v > min : v >= min) || !(below ? v < max : v <= max))
            FAIL(ARG, "--%s is %.6g; expected %s %.6g %s %.6g", limits[i].name, v, above ? "more than" : "at least",
                 min, below ? "and less than" : "and at most", max);
    }
    return STATUS_OK;
}

double money_capital_recovery(double rate, double years) {
    /* i / (1 - (1+i)^-n), without cancellation for a small i */
    return rate > 0 ? rate / -expm1(-years * log1p(rate)) : 1 / years;
}

double money_owned_usd_per_hour(const money_owned *o) {
    double capital = o->capex_usd * (1 - o->salvage) * money_capital_recovery(o->rate, o->years) / MONEY_HOURS_PER_YEAR;
    return (capital + o->opex_usd_per_hour) / o->utilisation;
}

double money_power_usd_per_hour(double watts, double pue, double usd_per_kwh) {
    return watts / 1000 * pue * usd_per_kwh;
}

double money_goodput(double checkpoint_s, double interval_s, double restart_s, double mtbf_s) {
    return 1 - checkpoint_s / interval_s - interval_s / (2 * mtbf_s) - restart_s / mtbf_s;
}

double money_best_interval(double checkpoint_s, double mtbf_s) { return sqrt(2 * checkpoint_s * mtbf_s); }
