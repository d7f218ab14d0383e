/* A plan of bf16 on a fully sharded world, of which no speed, price, power or failure is known. */
#ifndef TALLY_TESTS_PLAN_PROBLEM_H
#define TALLY_TESTS_PLAN_PROBLEM_H

#include "tools/plan.h"

static inline plan_request plan_problem(int devices) {
    return (plan_request){
        .step = {.s = {.B = 1, .T = 256},
                 .o = {.t = BF16, .master = true, .training = true, .shard = {.ranks = devices, .stage = SHARD_FULL}},
                 .micro_batches = 1},
        .m = {.flops = 1e14, .memory = 1e12, .net = {.per_node = 8, .inside = {2e11, 3e-6}, .between = {2e10, 1e-5}}},
        .tokens_per_s = NAN,
        .mfu = NAN,
        .peak = 2e14,
        .memory_limit = NAN,
        .usd_per_device_hour = NAN,
        .device_watts = NAN,
        .host_watts = NAN,
        .pue = NAN,
        .kg_co2_per_kwh = NAN,
        .device_mtbf_hours = NAN,
        .checkpoint_s = NAN,
        .restart_s = NAN};
}

#endif
