/* `tally plan --budget USD`: the best model that this money buys on this hardware.
 *
 *   device-hours   USD / price of a device-hour; what failures take (goodput) is subtracted
 *   FLOPs          C = 6 N D, as the scaling laws count: device-seconds x 6N FLOP/s of a device. Where the request gives MFU or a rate,
 *                  these say the FLOP/s. Else they are those of the cheapest configuration that fits (plan_search.h) of the preset
 *                  that is nearest to the answer
 *   answer         by the re-fit of Besiroglu et al. 2024, or, where tokens are limited, by Muennighoff et al. 2023
 *   presets        with the tokens that the money buys for them at their own speed, and the loss by the same law */
#ifndef TALLY_PLAN_BUDGET_H
#define TALLY_PLAN_BUDGET_H

#include "tools/plan_search.h"
#include "train/bill/scaling.h"

typedef struct {
    double usd;
    double tokens_at_most; /* different tokens that there are; INFINITY: no limit */
    plan_search_kept kept;
    bool json;
} plan_budget_options;

typedef struct {
    step_plan step; /* with the model */
    plan p;         /* of a step */
    bool fits;
    scaling_point at; /* of the answer's law */
} plan_budget_preset;

typedef struct {
    const char *change;
    double flops;
    scaling_point at;
} plan_budget_change;

enum { PLAN_BUDGET_PRESETS = 3, PLAN_BUDGET_CHANGES = 4 };

typedef struct {
    double device_hours, wall_s, goodput; /* goodput 1 where failures are not known */
    double flops, flops_per_s;            /* 6 N D; of a device */
    char rate_of[64];                     /* the preset whose speed flops_per_s is */
    scaling_point by_law[SCALING_LAWS];
    int answer; /* the law */
    plan_budget_preset presets[PLAN_BUDGET_PRESETS];
    int preset_count;
    plan_budget_change changes[PLAN_BUDGET_CHANGES];
    double enough_usd; /* where tokens are limited: what reaches the answer's loss within 0.1%; else NAN */
    scaling_point enough;
} plan_budget_result;

/* ARG where the price is not known or 0, or where no preset fits. */
status plan_budget_run(plan_budget_result *r, const plan_request *base, const plan_budget_options *o);

/* the mode of the command */
status plan_budget(const plan_request *base, const plan_budget_options *o);

#endif
