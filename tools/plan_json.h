/* Plans as JSON. Keys that a run's own plan has too (step_ms, tokens_per_s, wall_s, usd, energy_j, memory_bytes, memory) have the
 * same meaning there. What is not known is null. */
#ifndef TALLY_PLAN_JSON_H
#define TALLY_PLAN_JSON_H

#include "runtime/json.h"
#include "tools/plan_print.h"

/* {"model", "parameters", ..., "assumed": {...}, "plans": [one object for each]}, printed on one line */
status plan_json_print(const plan_list *l, const plan_setting *s, const plan_options *v);

#endif
