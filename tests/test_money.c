#include "tests/check.h"

#include <math.h>

#include "train/bill/grid.h"
#include "train/bill/money.h"
#include "train/bill/power.h"

static void near(double got, double expected, double relative) {
    if (!(fabs(got - expected) <= relative * fabs(expected))) fail_msg("%.17g, expected %.17g", got, expected);
}

static const money_owned cluster = {.capex_usd = 6072000, .years = 4, .utilisation = 1};

/* Level payments that repay a loan, by their definition: what is owed after the last one is 0. */
static void the_recovery_factor_repays_the_loan(void **unused) {
    (void)unused;
    const double rates[] = {0.001, 0.05, 0.3, 1};
    const int years[] = {1, 4, 10, 30};
    for (int r = 0; r < 4; r++)
        for (int y = 0; y < 4; y++) {
            double owed = 1;
            for (int i = 0; i < years[y]; i++)
                owed = owed * (1 + rates[r]) - money_capital_recovery(rates[r], years[y]);
            assert_true(fabs(owed) < 1e-13 * pow(1 + rates[r], years[y]) * years[y]);
        }
    near(money_capital_recovery(0, 4), 0.25, 0);
    near(money_capital_recovery(1e-12, 4), 0.25, 1e-11); /* (1+i)^n - 1 would lose 12 digits */
    near(money_capital_recovery(0.05, 10), 0.1295045750, 1e-9);
}

/* A cluster of 6.072 million USD costs 20.8 thousand for 5 days of 4 years; a cluster of 960 million 51.6 million for 78.4 days. */
static void an_owned_hour(void **unused) {
    (void)unused;
    near(money_owned_usd_per_hour(&cluster) * 24 * 5, 20794.5, 1e-5);
    money_owned o = {.capex_usd = 960e6, .years = 4, .utilisation = 1};
    near(money_owned_usd_per_hour(&o) * 24 * 78.4, 51.55e6, 1e-3);
    o = (money_owned){30000, 0.1, 4, 0, 0.5, 0.5};
    near(money_owned_usd_per_hour(&o), (30000 * 0.9 / 4 / 8760 + 0.5) / 0.5, 1e-15);
    near(money_power_usd_per_hour(400, 1.1, 0.12), 0.0528, 1e-15);
}

static void what_cannot_be_is_refused_by_the_name_of_its_option(void **unused) {
    (void)unused;
    OK(money_check(&cluster));
    const struct {
        const char *message;
        money_owned o;
    } bad[] = {
        {"--capex is 0; expected more than 0 and at most 1e+12", {0, 0, 4, 0, 0, 1}},
        {"--capex is nan", {NAN, 0, 4, 0, 0, 1}},
        {"--capex is -5", {-5, 0, 4, 0, 0, 1}},
        {"--salvage is 1; expected at least 0 and less than 1", {1, 1, 4, 0, 0, 1}},
        {"--years is 0; expected more than 0", {1, 0, 0, 0, 0, 1}},
        {"--interest is 5; expected at least 0 and at most 1", {1, 0, 4, 5, 0, 1}},
        {"--opex is -1", {1, 0, 4, 0, -1, 1}},
        {"--utilisation is 0; expected more than 0 and at most 1", {1, 0, 4, 0, 0, 0}},
        {"--utilisation is 1.1", {1, 0, 4, 0, 0, 1.1}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) FAILS(ARG, bad[i].message, money_check(&bad[i].o));
}

/* The best interval is the best: no other has a higher goodput; and it comes close to what a simulation of failures finds. */
static void the_best_interval(void **unused) {
    (void)unused;
    double d = 60, m = 6 * 3600, best = money_best_interval(d, m);
    near(best, sqrt(2 * 60 * 21600.0), 1e-15);
    for (double x = 0.1; x < 10; x += 0.0997)
        assert_true(money_goodput(d, best * x, 300, m) <= money_goodput(d, best, 300, m) + 1e-15);
    near(money_goodput(d, best, 300, m), 1 - 2 * sqrt(d / (2 * m)) - 300 / m, 1e-12);
    near(money_goodput(60, 600, 300, INFINITY), 0.9, 1e-15);
    assert_true(isinf(money_best_interval(60, INFINITY)));

    /* failures at exponential times; what was done after the last checkpoint is lost */
    uint64_t seed = 1;
    double useful = 0, wall = 0, until = 0;
    while (wall < 4e8) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        until = -m * log(((double)(seed >> 11) + 1) / 9007199254740993.0);
        useful += floor(until / (best + d)) * best;
        wall += until + 300;
    }
    near(money_goodput(d, best, 300, m), useful / wall, 0.01); /* second order: d/tau squared and the like */
}

/* Table 2 of Touvron et al., Llama 2 (2023): 400 W or 350 W times GPU hours, PUE 1.1, 0.385 kg/kWh; tonnes of CO2 */
static void power_of_whole_machines(void **unused) {
    (void)unused;
    const double models[][3] = {
        {184320, 400, 31.22}, {368640, 400, 62.44}, {1038336, 350, 153.90}, {1720320, 400, 291.42}};
    double of[POWER_ENTRIES];
    power_rates r = power_unknown;
    r.pue = 1.1, r.kg_per_kwh = 0.385;
    for (int i = 0; i < 4; i++) {
        power_entries(of, &r, models[i][0] * models[i][1] * 3600, models[i][0] * 3600);
        assert_true(fabs(of[POWER_KG_CO2] / 1000 - models[i][2]) < 0.01);
        assert_true(isnan(of[POWER_HOST_J]) && isnan(of[POWER_USD]));
    }
    r = (power_rates){.host_watts = 500, .pue = 1.2, .kg_per_kwh = 0.5, .usd_per_kwh = 0.1};
    power_entries(of, &r, 3.6e6, 3600); /* 1 kWh of devices, 0.5 of the host, 0.3 of cooling */
    near(of[POWER_HOST_J], 1.8e6, 1e-15);
    near(of[POWER_OVERHEAD_J], 1.08e6, 1e-14);
    near(of[POWER_KG_CO2], 0.9, 1e-14);
    near(of[POWER_USD], 0.18, 1e-14);
    power_entries(of, &r, NAN, 3600); /* what the devices take is not known */
    assert_true(of[POWER_HOST_J] == 1.8e6 && isnan(of[POWER_OVERHEAD_J]) && isnan(of[POWER_KG_CO2]) &&
                isnan(of[POWER_USD]));
    power_entries(of, &power_unknown, 5, 5);
    for (int i = 0; i < POWER_ENTRIES; i++) assert_true(isnan(of[i]));
}

static void a_grid_is_named_or_given(void **unused) {
    (void)unused;
    grid g;
    int count;
    const grid *list = grid_list(&count);
    assert_true(count > 60);
    for (int i = 0; i < count; i++) {
        assert_true(strlen(list[i].code) == 2 && *list[i].country && list[i].year >= 2022 && list[i].year <= 2024);
        assert_true(list[i].kg_per_kwh > 0.01 && list[i].kg_per_kwh < 1 && strstr(list[i].source, "Ember"));
        assert_true(i == 0 || strcmp(list[i - 1].code, list[i].code) < 0); /* none twice */
    }
    OK(grid_find(&g, "fr"));
    assert_string_equal(g.country, "France");
    assert_true(g.year == 2024 && g.kg_per_kwh == 0.04418);
    OK(grid_find(&g, "0.385"));
    assert_true(g.year == 0 && g.kg_per_kwh == 0.385);
    assert_string_equal(g.country, "as given");
    FAILS(ARG, "--grid XX is not in the table; expected kg of CO2 per kWh, or a country: AE, AR", grid_find(&g, "XX"));
    FAILS(ARG, "UY, VN, ZA", grid_find(&g, "")); /* the list is whole */
    FAILS(ARG, "--grid 44: expected 0 to 5 kg of CO2 per kWh", grid_find(&g, "44"));
    FAILS(ARG, "--grid -1", grid_find(&g, "-1"));
    FAILS(ARG, "--grid nan", grid_find(&g, "nan"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_recovery_factor_repays_the_loan),
        cmocka_unit_test(an_owned_hour),
        cmocka_unit_test(what_cannot_be_is_refused_by_the_name_of_its_option),
        cmocka_unit_test(the_best_interval),
        cmocka_unit_test(power_of_whole_machines),
        cmocka_unit_test(a_grid_is_named_or_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
