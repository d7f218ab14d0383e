/* `tally plan --search`: the cheapest way to run the steps of a plan on its devices. Every way takes the same tokens in a step, so the
 * training is the same up to rounding (with bf16 moments up to their stochastic rounding):
 *
 *   micro-batch x accumulate   every split of the sequences of a device
 *   recompute                  none, selective, block:K for eighths of the blocks
 *   shard, replicas            every stage, every number of replicas whose groups do not straddle nodes
 *   moments                    fp32, bf16
 * The memory of each comes from the layout pass (step_memory), its time from the simulated step. In order of memory, a configuration
 * whose GEMMs alone take longer than the best step so far cannot be on the frontier and is not simulated. GEMMs are assumed to run at
 * the same rate whatever the micro-batch. With base->from, each configuration has the speed that plan_from.h gives it instead. */
#ifndef TALLY_PLAN_SEARCH_H
#define TALLY_PLAN_SEARCH_H

#include <stdio.h>

#include "tools/plan.h"

/* what is kept as it is in the base, not searched */
typedef struct {
    bool recompute, stage, replicas, moments;
} plan_search_kept;

typedef struct {
    step_plan step;
    plan p;
    double device_s_per_token; /* what it is ranked by: with failures, where they are known */
} plan_search_point;

typedef struct {
    plan_search_point *frontier; /* in order of memory; each is cheaper than all that take less */
    int count;
    int cheapest; /* in the frontier, of those that fit; -1: none fits. Without a memory limit all fit */
    i64 configurations, fitting, simulated;
    double gemm_flops_per_s; /* of the base */
} plan_search_result;

/* Fails where plan_make fails for the base, which need not fit. Free r in any case. */
status plan_search_run(plan_search_result *r, const plan_request *base, plan_search_kept kept);
void plan_search_free(plan_search_result *r);

bool plan_search_fits(const plan_request *base, double memory_bytes);

typedef struct {
    plan_search_kept kept;
    const char *svg; /* where to write the frontier as a picture; NULL: nowhere */
    bool json;
} plan_search_options;

/* the mode of the command: searches, prints, writes the picture */
status plan_search(const plan_request *base, const plan_search_options *o);

/* the options of a configuration, as typed: --batch 4 --accumulate 2 --recompute block:8 --shard full --replicas 2 --moments fp32 */
typedef struct {
    char text[256];
} plan_search_text;
plan_search_text plan_search_describe(const step_plan *s);

/* USD of the run; of a million tokens where their number is unknown; the seconds of devices that these take where no price is known */
double plan_search_cost(const plan_search_point *p, const plan_request *base);
const char *plan_search_cost_unit(const plan_search_result *r, const plan_request *base);

void plan_search_svg(FILE *out, const plan_search_result *r, const plan_request *base);

#endif
