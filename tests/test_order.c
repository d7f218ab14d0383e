#include "tests/check.h"

#include "train/data/order.h"

static void test_every_number_once(void **state) {
    (void)state;
    for (i64 n = 1; n <= 300; n++) {
        char seen[300] = {0};
        order o = order_init(n, 1, 2, (uint64_t)n % 3);
        for (i64 i = 0; i < n; i++) {
            i64 j = order_at(&o, i);
            assert_true(j >= 0 && j < n && !seen[j]);
            seen[j] = 1;
        }
    }
    /* sizes beside a power of two, where almost half of the network's numbers are too large */
    for (i64 n = (1 << 16) - 1; n <= (1 << 16) + 1; n++) {
        char *seen = calloc(1, (size_t)n);
        order o = order_init(n, 1, 0, 0);
        for (i64 i = 0; i < n; i++) {
            i64 j = order_at(&o, i);
            assert_true(j >= 0 && j < n && !seen[j]);
            seen[j] = 1;
        }
        free(seen);
    }
}

static void test_the_largest(void **state) {
    (void)state;
    const i64 n = (i64)1 << 62;
    order o = order_init(n, 1, 0, 0);
    i64 least = n, most = 0;
    for (i64 i = 0; i < 1000; i++) {
        i64 j = order_at(&o, n - 1 - i);
        assert_true(j >= 0 && j < n);
        if (j < least) least = j;
        if (j > most) most = j;
    }
    assert_true(least < n / 100 && most > n / 100 * 99); /* chance of failure: 2 * 0.99^1000 */
}

/* Over many epochs every number comes to every place equally often, and neighbours are independent. Chi-square over n*n cells has
 * the mean n*n - n or so and the standard deviation sqrt(2) n; six of them are allowed. */
static void test_every_place_is_as_likely(void **state) {
    (void)state;
    enum { MOST = 37, EPOCHS = 20000 };
    static const i64 sizes[] = {2, 3, 5, 8, 11, 16, MOST};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        i64 n = sizes[s], counts[MOST][MOST] = {{0}}, pairs[MOST][MOST] = {{0}};
        for (uint64_t e = 0; e < EPOCHS; e++) {
            order o = order_init(n, 7, 0, e);
            for (i64 i = 0; i < n; i++) counts[i][order_at(&o, i)]++;
            pairs[order_at(&o, 0)][order_at(&o, 1)]++;
        }
        double places = 0, neighbours = 0, mean = (double)EPOCHS / (double)n, of_pair = mean / (double)(n - 1);
        for (i64 i = 0; i < n; i++)
            for (i64 j = 0; j < n; j++) {
                places += pow((double)counts[i][j] - mean, 2) / mean;
                if (i != j) neighbours += pow((double)pairs[i][j] - of_pair, 2) / of_pair;
            }
        double cells = (double)(n * n), allowed = cells + 6 * sqrt(2 * cells);
        if (places >= allowed || neighbours >= allowed)
            fail_msg("%ld numbers: chi-square %.1f of places, %.1f of neighbours; at most %.1f", n, places, neighbours,
                     allowed);
    }
}

static void test_depends_on_all(void **state) {
    (void)state;
    enum { N = 1000 };
    order orders[] = {order_init(N, 1, 0, 0), order_init(N, 2, 0, 0), order_init(N, 1, 1, 0), order_init(N, 1, 0, 1),
                      order_init(N, (uint64_t)1 << 40, 0, 0)};
    for (int a = 0; a < 5; a++)
        for (int b = 0; b < a; b++) {
            int same = 0;
            for (i64 i = 0; i < N; i++) same += order_at(&orders[a], i) == order_at(&orders[b], i);
            assert_true(same < 12); /* Poisson with mean 1 */
        }
    order again = order_init(N, 1, 0, 0);
    assert_memory_equal(&again, &orders[0], sizeof again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number_once),
        cmocka_unit_test(test_the_largest),
        cmocka_unit_test(test_every_place_is_as_likely),
        cmocka_unit_test(test_depends_on_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
