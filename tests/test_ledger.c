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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_many_ranks_are_exact),
        cmocka_unit_test(energy_that_is_not_known_is_null),
        cmocka_unit_test(what_a_killed_attempt_spent_is_taken_over),
        cmocka_unit_test(times_that_are_no_numbers_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
