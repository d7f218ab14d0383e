/* What articles claim that training costs, computed again. For each row, three figures: the article's; `again`, by the article's
 * own method from its own inputs; and `ours`, by the right method from the right inputs, with the functions by which `tally plan`
 * plans. The verdict follows from the three. */
#ifndef TALLY_CLAIMS_H
#define TALLY_CLAIMS_H

#include <stdbool.h>

#include "runtime/choices.h"
#include "runtime/status.h"

/* reproduces: ours agrees with the article. wrong: ours does not. open: nothing that is published decides it. */
#define CLAIM_VERDICT_LIST(X) X(CLAIM_REPRODUCES, "reproduces") X(CLAIM_WRONG, "wrong") X(CLAIM_OPEN, "open")
typedef enum { CLAIM_VERDICT_LIST(CHOICES_VALUE) CLAIM_VERDICTS } claim_verdict;

/* how the article's figure is meant */
typedef enum { CLAIM_EQUAL, CLAIM_AT_MOST, CLAIM_AT_LEAST } claim_relation;

typedef struct {
    double again, ours;           /* NAN: cannot be computed */
    double again_high, ours_high; /* where the claim is a range; else NAN */
    claim_verdict verdict;
    bool again_agrees;
    char reason[512];
} claim_result;

typedef struct {
    const char *id, *system, *claim;
    double value, high; /* the article's; high: the upper end of a range, or 0 */
    const char *unit;
    double tolerance; /* half a unit of the article's last digit, in its unit */
    claim_relation relation;
    const char *inputs, *method; /* for people */
    status (*compute)(claim_result *r);
    claim_verdict expected;
    bool again_expected; /* whether the article's own method gives the article's figure */
} claim;

const claim *claims_list(int *count);
status claims_find(const claim **c, const char *id); /* ARG: the message lists the ids */
status claims_compute(claim_result *r, const claim *c);
bool claims_as_expected(const claim *c, const claim_result *r);
const char *claims_verdict_name(claim_verdict v);

#endif
