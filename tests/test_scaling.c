#include "tests/check.h"

#include <string.h>

#include "train/bill/scaling.h"

static scaling_point optimum(int law, double flops, double tokens_at_most) {
    scaling_point p;
    OK(scaling_optimum(&p, &scaling_laws[law], flops, tokens_at_most));
    assert_true(fabs(6 * p.N * p.D / flops - 1) < 1e-12);
    return p;
}

static void check_near(const char *what, double value, double expected, double tolerance) {
    if (!(fabs(value / expected - 1) <= tolerance))
        fail_msg("%s: %.6g, expected %.6g within %.2g%%", what, value, expected, 100 * tolerance);
}

/* Hoffmann et al. 2022, tables 3 and A3. FLOPs are printed with three digits; tokens with one to six. */
static const struct {
    double N, flops1, tokens1, flops2, tokens2, flops3, tokens3;
} printed[] = {
    {400e6, 1.92e19, 8.0e9, 1.84e19, 7.7e9, 2.21e19, 9.2e9},
    {1e9, 1.21e20, 20.2e9, 1.20e20, 20.0e9, 1.62e20, 27.1e9},
    {10e9, 1.23e22, 205.1e9, 1.32e22, 219.5e9, 2.46e22, 410.1e9},
    {67e9, 5.76e23, 1.5e12, 6.88e23, 1.7e12, 1.71e24, 4.1e12},
    {175e9, 3.85e24, 3.7e12, 4.54e24, 4.3e12, 1.26e25,
     12.0e12}, /* printed as 1.26e24, but 6 x 175e9 x 12.0e12 = 1.26e25 */
    {280e9, 9.90e24, 5.9e12, 1.18e25, 7.1e12, 3.52e25, 20.1e12},
    {520e9, 3.43e25, 11.0e12, 4.19e25, 13.4e12, 1.36e26, 43.5e12},
    {1e12, 1.27e26, 21.2e12, 1.59e26, 26.5e12, 5.65e26, 94.1e12},
    {10e12, 1.30e28, 216.2e12, 1.75e28, 292.0e12, 8.55e28, 1425.5e12},
};

static void test_chinchilla_reproduces_its_printed_tables(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof printed / sizeof *printed; i++) {
        bool odd = printed[i].N == 67e9; /* the rows around it say 67.9e9 and 69.5e9 */
        scaling_point one = optimum(SCALING_HOFFMANN_1, printed[i].flops1, INFINITY);
        scaling_point two = optimum(SCALING_HOFFMANN_2, printed[i].flops2, INFINITY);
        scaling_point three = optimum(SCALING_HOFFMANN_3, printed[i].flops3, INFINITY);
        check_near("approach 1, N", one.N, printed[i].N, odd ? 0.015 : 0.002);
        check_near("approach 1, D", one.D, printed[i].tokens1, odd ? 0.06 : 0.012);
        check_near("approach 2, N", two.N, printed[i].N, odd ? 0.038 : 0.002);
        check_near("approach 2, D", two.D, printed[i].tokens2, odd ? 0.03 : 0.012);
        /* The paper's coefficients miss its table by this much: the exponent of the table is 0.459, theirs 0.4565. And 6 N D of the
         * row of 280e9 is 4% less than its FLOPs. */
        check_near("approach 3, N", three.N, printed[i].N, 0.075);
        check_near("approach 3, D", three.D, printed[i].tokens3, 0.11);
    }
}

static void test_the_budget_of_gopher(void **state) {
    (void)state; /* Hoffmann et al., section 3: 67, 63 and 40 billion parameters for 5.76e23 FLOPs */
    check_near("approach 1", optimum(SCALING_HOFFMANN_1, 5.76e23, INFINITY).N, 67e9, 0.015);
    check_near("approach 2", optimum(SCALING_HOFFMANN_2, 5.76e23, INFINITY).N, 63e9, 0.012);
    check_near("approach 3", optimum(SCALING_HOFFMANN_3, 5.76e23, INFINITY).N, 40e9, 0.0125);
    /* Besiroglu et al., section 4: about 20 tokens per parameter, as Chinchilla itself was trained (70e9, 1.4e12) */
    scaling_point p = optimum(SCALING_BESIROGLU, 5.76e23, INFINITY);
    check_near("re-fit, N", p.N, 72.2e9, 0.001);
    check_near("re-fit, tokens per parameter", p.D / p.N, 18.4, 0.005);
}

static void test_exponents_are_those_of_the_papers(void **state) {
    (void)state;
    static const struct {
        int law;
        double a, half; /* half of the last printed digit */
    } of[] = {{SCALING_HOFFMANN_1, 0.50, 0.005},
              {SCALING_HOFFMANN_2, 0.49, 0.005},
              {SCALING_HOFFMANN_3, 0.46, 0.005},
              {SCALING_BESIROGLU, 0.5126, 0.00005},
              {SCALING_MUENNIGHOFF, 0.5, 1e-9}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        double a = log(optimum(of[i].law, 1e24, INFINITY).N / optimum(of[i].law, 1e20, INFINITY).N) / log(1e4);
        if (fabs(a - of[i].a) > of[i].half) fail_msg("%s: exponent %.5f", scaling_laws[of[i].law].key, a);
    }
}

/* the closed form is the minimum: every other split of the same FLOPs has a larger loss */
static void test_the_optimum_has_the_least_loss(void **state) {
    (void)state;
    for (int law = SCALING_HOFFMANN_3; law < SCALING_LAWS; law++)
        for (double flops = 1e17; flops < 1e27; flops *= 31)
            for (double limit = 1e8; limit < 1e13; limit *= 100) {
                const scaling_law *l = &scaling_laws[law];
                scaling_point p = optimum(law, flops, limit);
                double U = l->repeats_tokens > 0 ? limit : INFINITY;
                assert_true(p.U == fmin(p.D, U));
                for (double f = 0.5; f < 2.1; f *= 1.05)
                    if (scaling_loss(l, p.N * f, p.D / f, U) < p.loss - 1e-12)
                        fail_msg("%s, %g FLOPs, %g tokens: better with %g times the parameters", l->key, flops, limit,
                                 f);
            }
}

static void test_repeated_data_as_the_authors_print_it(void **state) {
    (void)state; /* README.md of github.com/huggingface/datablations, and figure 1 of the paper */
    const scaling_law *l = &scaling_laws[SCALING_MUENNIGHOFF];
    check_near("6.34e9 on 242e9", scaling_loss(l, 6.34e9, 242e9, 25e9), 2.2256440889984477, 1e-7);
    check_near("8.67e9 on 178e9", scaling_loss(l, 8.67e9, 178e9, 25e9), 2.2269634075087867, 1e-7);
    /* their grid in steps of 0.4%, printed with two digits: 227e9 tokens, 9.1 epochs, 6.8e9 parameters */
    scaling_point p = optimum(SCALING_MUENNIGHOFF, 6 * 8.67e9 * 178e9, 25e9);
    check_near("tokens", p.D, 227e9, 0.006);
    check_near("epochs", p.D / p.U, 9.1, 0.006);
    check_near("parameters", p.N, 6.8e9, 0.008);
    /* appendix A: U_N = 0.051 U_D */
    scaling_point once = optimum(SCALING_MUENNIGHOFF, 6 * 0.051 * 1e20, INFINITY);
    check_near("parameters per token", once.N / once.D, 0.051, 0.01);
}

/* repetition is worth less than fresh tokens, and never hurts in this law */
static void test_limits_of_repetition(void **state) {
    (void)state;
    const scaling_law *l = &scaling_laws[SCALING_MUENNIGHOFF];
    assert_true(scaling_loss(l, 1e9, 4e10, INFINITY) < scaling_loss(l, 1e9, 4e10, 1e10));
    assert_true(scaling_loss(l, 1e9, 4e10, 1e10) < scaling_loss(l, 1e9, 1e10, 1e10));
    assert_true(scaling_loss(l, 1e9, 1e10, 1e10) == scaling_loss(l, 1e9, 1e10, INFINITY));
    /* "up to four epochs are almost as good as new data": within 1% of the loss at 8.7e9 on 178e9 (measured there: 0.5%) */
    assert_true(scaling_loss(l, 8.7e9, 178e9, 44.5e9) < 1.01 * scaling_loss(l, 8.7e9, 178e9, INFINITY));
    /* without end: as U (1 + R*) fresh tokens */
    check_near("plateau", scaling_loss(l, 5e8, 1e16, 1e10),
               l->E + l->A * pow(5e8, -l->alpha) + l->B * pow(1e10 * (1 + l->repeats_tokens), -l->beta), 1e-3);
    assert_true(isnan(scaling_loss(&scaling_laws[SCALING_BESIROGLU], 1e9, 4e10, 1e10)));
    assert_true(isnan(scaling_loss(&scaling_laws[SCALING_HOFFMANN_1], 1e9, 4e10, INFINITY)));
}

/* where the law is flat to the last bits, N and D stay near the proportion of the unlimited optimum; up to there money still helps */
static void test_money_without_data(void **state) {
    (void)state;
    scaling_point flat = optimum(SCALING_MUENNIGHOFF, 1e20, 1),
                  unlimited = optimum(SCALING_MUENNIGHOFF, 1e20, INFINITY);
    check_near("N", flat.N, unlimited.N, 0.1);
    assert_false(scaling_within_fit(&scaling_laws[SCALING_MUENNIGHOFF], &flat));
    assert_true(scaling_within_fit(&scaling_laws[SCALING_MUENNIGHOFF], &unlimited));
    double before = INFINITY;
    for (double flops = 1e18; flops < 1e22; flops *= 10) {
        double loss = optimum(SCALING_MUENNIGHOFF, flops, 1e9).loss;
        assert_true(loss < before);
        before = loss;
    }
}

/* 95% of the losses of the 4000 bootstrap samples themselves lie within these */
static void test_interval_is_that_of_the_bootstrap(void **state) {
    (void)state;
    static const struct {
        double N, D, low, high;
    } of[] = {{1e8, 2e9, 3.4232, 3.4580},
              {4e8, 8e9, 2.8009, 2.8070},
              {1e10, 2e11, 2.1189, 2.1447},
              {70e9, 1.4e12, 1.9517, 2.0018},
              {1e9, 1e12, 2.2388, 2.2813}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        scaling_point p = scaling_at(&scaling_laws[SCALING_BESIROGLU], of[i].N, of[i].D, INFINITY);
        assert_true(p.low < p.loss && p.loss < p.high);
        if (fabs(p.low - of[i].low) > 0.0035 || fabs(p.high - of[i].high) > 0.0035)
            fail_msg("N %g: %.4f to %.4f, the bootstrap's %.4f to %.4f", of[i].N, p.low, p.high, of[i].low, of[i].high);
    }
    scaling_point none = scaling_at(&scaling_laws[SCALING_HOFFMANN_3], 1e9, 2e10, INFINITY);
    assert_true(none.loss > 2 && isnan(none.low) && isnan(none.high)); /* its paper gives none */
    /* standard errors, Besiroglu et al., table 1: A 124.58, B 1293.23, alpha and beta 0.02, E 0.03 */
    const scaling_law *l = &scaling_laws[SCALING_BESIROGLU];
    assert_true(fabs(l->A * sqrt(l->covariance[0][0]) - 124.58) < 10 &&
                fabs(l->B * sqrt(l->covariance[1][1]) - 1293.23) < 500);
    assert_true(fabs(l->E * sqrt(l->covariance[2][2]) - 0.03) < 0.005);
    assert_true(fabs(sqrt(l->covariance[3][3]) - 0.02) < 0.005 && fabs(sqrt(l->covariance[4][4]) - 0.02) < 0.005);
}

static void test_what_is_refused(void **state) {
    (void)state;
    scaling_point p;
    const scaling_law *l = &scaling_laws[SCALING_BESIROGLU];
    const double bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(ARG, "training FLOPs", scaling_optimum(&p, l, bad[i], INFINITY));
    FAILS(ARG, "tokens at most", scaling_optimum(&p, l, 1e20, 0));
    FAILS(ARG, "tokens at most", scaling_optimum(&p, l, 1e20, NAN));
    for (int law = 0; law < SCALING_LAWS; law++)
        FAILS(ARG, "one parameter", scaling_optimum(&p, &scaling_laws[law], 1e-3, INFINITY));
}

static void test_every_law_names_its_source(void **state) {
    (void)state;
    for (int i = 0; i < SCALING_LAWS; i++) {
        const scaling_law *l = &scaling_laws[i];
        assert_true(l->key && l->name && strstr(l->source, "arXiv") && l->least_N < l->most_N);
        assert_true((l->k > 0) != (l->E > 0));
        for (int a = 0; a < 5; a++)
            for (int b = 0; b < 5; b++) assert_true(l->covariance[a][b] == l->covariance[b][a]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chinchilla_reproduces_its_printed_tables),
        cmocka_unit_test(test_the_budget_of_gopher),
        cmocka_unit_test(test_exponents_are_those_of_the_papers),
        cmocka_unit_test(test_the_optimum_has_the_least_loss),
        cmocka_unit_test(test_repeated_data_as_the_authors_print_it),
        cmocka_unit_test(test_limits_of_repetition),
        cmocka_unit_test(test_money_without_data),
        cmocka_unit_test(test_interval_is_that_of_the_bootstrap),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_every_law_names_its_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
