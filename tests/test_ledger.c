#include "runtime/path.h"
#include "runtime/text.h"
#include "tests/check.h"

#include <string.h>
#include <unistd.h>

#include "train/bill/ledger.h"

/* seconds and money of 100,000 ranks over a year and more: nanoseconds of all ranks pass 2^64 */
static void sums_of_many_ranks_are_exact(void **unused) {
    (void)unused;
    const uint64_t year_ns = 31536000ull * 1000000000;
    const int ranks[] = {1, 1024, 16384, 100000}, years[] = {1, 10};
    for (int r = 0; r < 4; r++)
        for (int y = 0; y < 2; y++) {
            comm world = {.ranks = ranks[r]};
            ledger l = {.usd_per_hour = 2.0 * ranks[r], .world = &world};
            ledger_part each = {0};
            uint64_t ns = year_ns * (uint64_t)years[y];
            each.ns[BOOK_USEFUL] = ns - 7;
            each.ns[BOOK_DATA] = 7;
            ledger_sum(&l, &each, 0); /* stride 0: all ranks have the same values */
            assert_true(l.total.ns[BOOK_USEFUL] == ns - 7 && l.total.ns[BOOK_DATA] == 7);
            double usd = 2.0 * ranks[r] * 8760 * years[y];
            assert_true(fabs(ledger_wall_s(&l) / 31536000 - years[y]) < 1e-9);
            assert_true(fabs(ledger_usd(&l) / usd - 1) < 1e-9);
        }
}

static void times_that_are_no_numbers_are_told(void **unused) {
    (void)unused;
    assert_string_equal(text_seconds(NAN).text, "unknown");
    assert_string_equal(text_seconds(INFINITY).text, "infs");
    assert_string_equal(text_seconds(1e30).text, "1e+30s");
    assert_string_equal(text_seconds(1e9).text, "11574d 01h");
}

/* a rank whose price is unknown: null everywhere, never 0 */
static void energy_that_is_not_known_is_null(void **unused) {
    (void)unused;
    char run[] = "/tmp/test_ledger_XXXXXX";
    assert_non_null(mkdtemp(run));
    path_text path = path_join(run, "ledger.json");
    comm world = {.ranks = 2};
    ledger l = {.usd_per_hour = 1, .world = &world, .energy_of = ENERGY_UNKNOWN};
    ledger_part parts[2] = {{.joules = 5}, {.joules = NAN}};
    spent unknown = {.joules = NAN}, again;
    json_t *o;
    ledger_sum(&l, parts, sizeof *parts);
    OK(ledger_write(&l, run, 0, 0));
    OK(json_read_file(&o, path.text));
    assert_true(json_is_null(json_object_get(o, "energy_j")));
    assert_string_equal(json_string_value(json_object_get(o, "energy_source")), "unknown");
    OK(spent_read(&again, o, path.text));
    assert_true(isnan(again.joules));
    OK(ledger_resume(&l, run, 0, &unknown, &(spent_totals){.joules = 7, .usd = NAN})); /* one attempt had no price */
    assert_true(isnan(l.before.joules));
    json_decref(o);
    unlink(path.text);
    rmdir(run);
}

/* after the checkpoint: stopped time stays stopped, the rest is lost; money as it was paid */
static void what_a_killed_attempt_spent_is_taken_over(void **unused) {
    (void)unused;
    comm world = {.ranks = 1};
    ledger l = {.usd_per_hour = 3600, .world = &world};
    spent then = {.ns = {[BOOK_USEFUL] = 10000000000, [BOOK_STOPPED] = 1000000000},
                  .usd = {[BOOK_USEFUL] = 20, [BOOK_STOPPED] = 2},
                  .joules = 50};
    spent_totals last = {.ns = 31000000000, .stopped_ns = 6000000000, .usd = 62, .joules = 90};
    OK(ledger_resume(&l, "/nowhere", 0, &then, &last));
    ledger_part all = {.before = l.before};
    ledger_sum(&l, &all, sizeof all);
    assert_true(l.total.ns[BOOK_USEFUL] == 10000000000 && l.total.ns[BOOK_STOPPED] == 6000000000);
    assert_true(l.total.ns[BOOK_LOST] == 15000000000);
    assert_true(fabs(l.total.usd[BOOK_LOST] - 30) < 1e-9 && fabs(l.total.usd[BOOK_STOPPED] - 12) < 1e-9 &&
                l.total.joules == 90);
}

/* Power of the whole machine: by the kWh where devices are owned, and as paid by the attempts before. */
static void power_has_entries_of_its_own(void **unused) {
    (void)unused;
    char run[] = "/tmp/test_ledger_XXXXXX";
    assert_non_null(mkdtemp(run));
    path_text path = path_join(run, "ledger.json");
    comm world = {.ranks = 2};
    ledger l = {.usd_per_hour = 4,
                .world = &world,
                .rates = {.host_watts = 500, .pue = 1.2, .kg_per_kwh = 0.5, .usd_per_kwh = 0.1}};
    ledger_part parts[2] = {{.ns = {[BOOK_USEFUL] = 2700000000000, [BOOK_DATA] = 900000000000}, .joules = 1.6e6},
                            {.ns = {[BOOK_USEFUL] = 2700000000000, [BOOK_DATA] = 900000000000}, .joules = 2e6}};
    OK(grid_find(&l.grid, "0.5"));
    ledger_sum(&l, parts, sizeof *parts); /* an hour; 1 kWh of devices, 0.5 of the host, 0.3 of cooling */
    assert_true(fabs(ledger_usd(&l) - 4.18) < 1e-12 && fabs(l.total.usd[BOOK_DATA] - 4.18 / 4) < 1e-12);
    assert_true(fabs(ledger_usd_per_hour(&l) - 4.18) < 1e-12 && l.usd_per_hour == 4);
    OK(ledger_write(&l, run, 5, 0));
    json_t *o;
    OK(json_read_file(&o, path.text));
    const json_t *energy = json_object_get(o, "energy");
    assert_true(json_number_or_nan(json_object_get(energy, "devices_j")) == 3.6e6);
    assert_true(fabs(json_number_or_nan(json_object_get(energy, "host_j")) - 1.8e6) < 1e-6);
    assert_true(fabs(json_number_or_nan(json_object_get(energy, "overhead_j")) - 1.08e6) < 1e-6);
    assert_true(fabs(json_number_or_nan(json_object_get(o, "kg_co2")) - 0.9) < 1e-12);
    assert_true(fabs(json_number_or_nan(json_object_get(o, "power_usd")) - 0.18) < 1e-12);
    assert_string_equal(json_string_value(json_object_get(o, "grid")), "as given, 0.5 kg CO2 per kWh");
    json_decref(o);

    /* a second attempt, rented and without --grid: what was spent stays, what is not known of both is null */
    spent then = l.total;
    spent_totals last = spent_total(&then);
    last.ns += 1000000000, last.usd += 1, last.power[POWER_HOST_J] += 500;
    ledger next = {.usd_per_hour = 3600, .world = &world, .rates = power_unknown};
    next.rates.host_watts = 100;
    OK(ledger_resume(&next, run, 5, &then, &last));
    ledger_part again[2] = {{.ns = {[BOOK_USEFUL] = 1000000000}, .joules = 7, .before = next.before},
                            {.ns = {[BOOK_USEFUL] = 1000000000}, .joules = 8}};
    ledger_sum(&next, again, sizeof *again);
    assert_true(fabs(ledger_usd(&next) - 4.18 - 1 - 1) < 1e-9 && fabs(ledger_wall_s(&next) - 3602) < 1e-9);
    assert_true(fabs(next.total.power[POWER_HOST_J] - 1.8e6 - 500 - 100) < 1e-6 && next.total.joules == 3.6e6 + 15);
    OK(ledger_write(&next, run, 6, 0));
    OK(json_read_file(&o, path.text));
    assert_true(json_is_null(json_object_get(o, "kg_co2")) && json_is_null(json_object_get(o, "grid")));
    assert_true(json_is_null(json_object_get(json_object_get(o, "energy"), "overhead_j")));
    assert_true(json_is_null(json_object_get(o, "power_usd")));
    spent read;
    OK(spent_read(&read, o, path.text));
    assert_true(read.power[POWER_HOST_J] == next.total.power[POWER_HOST_J] && isnan(read.power[POWER_KG_CO2]));
    json_object_del(o, "energy"); /* an earlier version */
    OK(spent_read(&read, o, path.text));
    assert_true(isnan(read.power[POWER_HOST_J]));
    json_decref(o);
    unlink(path.text);
    rmdir(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_many_ranks_are_exact),
        cmocka_unit_test(energy_that_is_not_known_is_null),
        cmocka_unit_test(what_a_killed_attempt_spent_is_taken_over),
        cmocka_unit_test(power_has_entries_of_its_own),
        cmocka_unit_test(times_that_are_no_numbers_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
