/* `tally plan --reproduce [ROW]`: what articles claim that training costs (claims.h), and published MFU (published.h), each beside
 * the figure that tally's own functions give. */
#ifndef TALLY_PLAN_CLAIMS_H
#define TALLY_PLAN_CLAIMS_H

#include <stdbool.h>

#include "runtime/status.h"

#define PLAN_CLAIMS_PUBLISHED "published-mfu" /* the row that stands for all of published.h */

/* row: NULL: all claims, and the published MFU in a line; one claim with its inputs; or PLAN_CLAIMS_PUBLISHED. *exit_code becomes
 * 1 if a verdict is not the expected one or an MFU differs by more than PUBLISHED_TOLERANCE: then tally or its tables changed.
 * ARG: no such row. */
status plan_claims(const char *row, bool json, int *exit_code);

#endif
