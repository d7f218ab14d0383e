#include "tests/check.h"

#include <string.h>

#include "tools/claims.h"
#include "tools/published.h"

/* computed by hand with bc from the inputs that the rows name */
static const struct {
    const char *id;
    double ours;
    claim_verdict verdict;
} known[] = {
    {"sam-hw", 6072000, CLAIM_REPRODUCES},
    {"sam-opex", 1474.56, CLAIM_WRONG},
    {"sam-total", 20794.5205, CLAIM_WRONG}, /* 6072000 x 5 / 1460 */
    {"sam-paper", 6963.2, CLAIM_REPRODUCES},
    {"palm-8b", 4.291e22, CLAIM_REPRODUCES},
    {"palm-540b", 2.5566e24, CLAIM_REPRODUCES},
    {"palm-ratio", 59.59, CLAIM_REPRODUCES},
    {"palm-vocab", 781.0e9, CLAIM_WRONG},
    {"palm-mfu", 46.23, CLAIM_REPRODUCES},
    {"mpt-7b-a100", 11447.96, CLAIM_REPRODUCES},
    {"mpt-7b-usd", 25331.02, CLAIM_REPRODUCES},
    {"llama2-70b", 1720306.96, CLAIM_REPRODUCES},
    {"llama2-7b-co2", 31.22450, CLAIM_REPRODUCES},
    {"llama2-13b-co2", 62.44899, CLAIM_REPRODUCES},
    {"llama2-34b-co2", 153.9073, CLAIM_REPRODUCES},
    {"llama2-70b-co2", 291.4222, CLAIM_REPRODUCES},
    {"alpaca-7b", 53.04, CLAIM_REPRODUCES},
    {"llama31-405b-flops", 3.645e25, CLAIM_REPRODUCES},
    {"llama31-405b-peak", 989.4e12, CLAIM_WRONG},
    {"llama31-405b-ideal", 27.132, CLAIM_WRONG},
    {"llama31-405b-days", 78.430, CLAIM_WRONG},
    {"llama31-405b-capex", 960e6, CLAIM_REPRODUCES},
    {"llama31-405b-power", 22.4, CLAIM_REPRODUCES},
    {"llama31-405b-energy", 2409523.2, CLAIM_REPRODUCES},
    {"llama2-70b-flops", 8.568e23, CLAIM_WRONG},
    {"mixed-precision", NAN, CLAIM_OPEN},
    {"checkpointing", -70, CLAIM_REPRODUCES}, /* within 2%: alignment and workspaces may change */
    {"yafsdp", 2.32, CLAIM_WRONG},
};
enum { KNOWN = sizeof known / sizeof *known };

static void test_every_row_has_its_figure_and_verdict(void **state) {
    (void)state;
    int count;
    claims_list(&count);
    assert_int_equal(count, KNOWN);
    for (int i = 0; i < KNOWN; i++) {
        const claim *c;
        claim_result r;
        OK(claims_find(&c, known[i].id));
        OK(claims_compute(&r, c));
        bool same =
            isnan(known[i].ours) ? isnan(r.ours) : fabs(r.ours / known[i].ours - 1) < (known[i].ours < 0 ? 0.02 : 1e-3);
        if (!same || r.verdict != known[i].verdict)
            fail_msg("%s: %.8g, %s, expected %.8g, %s", c->id, r.ours, claims_verdict_name(r.verdict), known[i].ours,
                     claims_verdict_name(known[i].verdict));
        assert_true(claims_as_expected(c, &r));
        assert_true(*r.reason && *c->inputs && *c->claim && *c->unit);
        assert_true(strlen(r.reason) < sizeof r.reason - 1); /* not cut off */
    }
}

/* The verdict follows from the figures: it is another one once the article's figure is. */
static void test_another_figure_gets_another_verdict(void **state) {
    (void)state;
    int count;
    const claim *list = claims_list(&count);
    for (int i = 0; i < count; i++) {
        claim_result r;
        claim other = list[i];
        if (other.expected == CLAIM_OPEN) continue;
        if (other.expected == CLAIM_REPRODUCES) {
            other.value = other.relation == CLAIM_AT_MOST ? other.value / 10 : other.value * 1.02 + 3 * other.tolerance;
        } else {
            OK(claims_compute(&r, &other));
            other.value = r.ours;
            if (other.high > 0) other.high = r.ours_high;
        }
        OK(claims_compute(&r, &other));
        if (claims_as_expected(&other, &r)) fail_msg("%s: %g is as expected", other.id, other.value);
    }
}

static void test_an_unknown_row(void **state) {
    (void)state;
    const claim *c;
    FAILS(ARG, "--reproduce \"palm\": expected no row, or one of sam-hw", claims_find(&c, "palm"));
    FAILS(ARG, "yafsdp", claims_find(&c, ""));
}

static void test_published_rows(void **state) {
    (void)state;
    int count;
    const published_row *p = published_list(&count);
    assert_int_equal(count, 144);
    for (int i = 0; i < count; i++) {
        published_result r;
        OK(published_compute(&r, &p[i]));
        if (!(r.error <= PUBLISHED_TOLERANCE)) fail_msg("row %d: %g", i, r.error);
        published_row other = p[i];
        other.tokens_per_s *= 1.01;
        OK(published_compute(&r, &other));
        assert_true(r.error > PUBLISHED_TOLERANCE);
    }
}

/* --- the tables that the project was given, where they are there --- */

/* the next field of a line of CSV; a field may be in double quotes */
static char *field(char **line) {
    char *start = *line;
    char *end;
    if (*start == '"') {
        end = strchr(++start, '"');
        assert_non_null(end);
        *end++ = 0;
    } else {
        end = start + strcspn(start, ",\n");
    }
    if (*end) *end++ = 0;
    *line = end;
    return start;
}

static void test_the_claims_are_those_of_the_shared_table(void **state) {
    (void)state;
    FILE *f = fopen("../shared/data/seed_claims.csv", "r");
    char line[1024];
    int rows = 0;
    if (!f) skip();
    assert_non_null(fgets(line, sizeof line, f));
    for (; fgets(line, sizeof line, f); rows++) {
        char *rest = line;
        const claim *c;
        OK(claims_find(&c, field(&rest)));
        assert_string_equal(field(&rest), c->system);
        field(&rest);
        const char *value = field(&rest);
        char *end;
        double low = strtod(value, &end), high = *end == '-' ? strtod(end + 1, NULL) : 0;
        if (low != c->value || high != c->high) fail_msg("%s: %g, the shared table has %s", c->id, c->value, value);
        const char *unit = field(&rest);
        assert_int_equal(strncmp(unit, c->unit, strlen(c->unit)), 0);
        assert_int_equal(strstr(unit, "upper bound") != NULL, c->relation == CLAIM_AT_MOST);
    }
    fclose(f);
    assert_int_equal(rows, KNOWN);
}

static void test_the_published_rows_are_those_of_the_shared_table(void **state) {
    (void)state;
    FILE *f = fopen("../shared/data/published_mfu.csv", "r");
    static const char *const gpus[] = {"h100_80gb", "a100_80gb", "a100_40gb"};
    char line[1024];
    int count;
    const published_row *p = published_list(&count);
    if (!f) skip();
    assert_non_null(fgets(line, sizeof line, f));
    for (int i = 0; i < count; i++, p++) {
        assert_non_null(fgets(line, sizeof line, f));
        char *rest = line;
        assert_string_equal(field(&rest), p->model);
        const i64 integers[] = {p->layers, p->d_model, p->parameters, p->seq_len, p->gpus};
        for (int k = 0; k < 5; k++) assert_int_equal(atol(field(&rest)), integers[k]);
        assert_string_equal(field(&rest), gpus[p->gpu]);
        assert_string_equal(field(&rest), published_precision_name(p->precision));
        assert_int_equal(strcmp(field(&rest), "true") == 0, p->checkpointing);
        assert_true(atof(field(&rest)) == p->tokens_per_s);
        assert_true(atof(field(&rest)) == p->mfu_percent);
        assert_true(atof(field(&rest)) == p->hfu_percent);
    }
    assert_null(fgets(line, sizeof line, f));
    fclose(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_has_its_figure_and_verdict),
        cmocka_unit_test(test_another_figure_gets_another_verdict),
        cmocka_unit_test(test_an_unknown_row),
        cmocka_unit_test(test_published_rows),
        cmocka_unit_test(test_the_claims_are_those_of_the_shared_table),
        cmocka_unit_test(test_the_published_rows_are_those_of_the_shared_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
