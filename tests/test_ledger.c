#include "tests/check.h"

#include <string.h>

#include "runtime/log.h"
#include "train/ledger.h"

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
            each.booked_ns[BOOK_USEFUL] = ns - 7;
            each.booked_ns[BOOK_DATA] = 7;
            ledger_sum(&l, &each, 0); /* stride 0: all ranks tell the same */
            assert_true(l.booked_ns[BOOK_USEFUL] == ns - 7 && l.booked_ns[BOOK_DATA] == 7);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_many_ranks_are_exact),
        cmocka_unit_test(times_that_are_no_numbers_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
