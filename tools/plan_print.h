/* Plans as text: one in full, several as tables with a row each. The figures that were assumed follow, each with its source. */
#ifndef TALLY_PLAN_PRINT_H
#define TALLY_PLAN_PRINT_H

#include "tools/plan_options.h"

typedef struct {
    const plan_request *requests;
    const plan *plans;
    int count; /* at least 1 */
} plan_list;

void plan_print(const plan_list *l, const plan_setting *s, const plan_options *v);
void plan_print_assumed(const plan_setting *s); /* the last part alone */

#endif
