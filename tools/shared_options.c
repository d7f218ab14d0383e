#include "tools/shared_options.h"

#include <math.h>

parameters_options shared_options_training(const dtype_options *v) {
    return (parameters_options){
        .t = (dtype)v->precision, .master = v->master == MASTER_FP32, .moments = (dtype)v->moments, .training = true};
}

status shared_options_sharding(shard_options *o, const sharding_options *v, shard_stage stage, dtype precision) {
    if (v->gather_dtype == GATHER_FP32 && precision == BF16)
        FAIL(ARG, "--gather-dtype fp32: --precision makes the weights bf16; expected auto or bf16");
    *o = (shard_options){.stage = stage,
                         .replicas = stage == SHARD_NONE ? 1 : (int)v->replicas,
                         .gather_bf16 = v->gather_dtype == GATHER_BF16,
                         .reduce_bf16 = v->reduce_dtype == BF16,
                         .accumulate_locally = !v->reduce_every_microbatch};
    return STATUS_OK;
}

static double value_or(double otherwise, const options *given, const char *name, double value) {
    return options_given(given, name) ? value : otherwise;
}

status shared_options_bill(ledger_terms *t, const bill_options *v, double price, const options *given) {
    static const char *const of_owners[] = {"salvage", "years", "interest", "opex", "utilisation", "kwh-price"};
    bool owned = options_given(given, "capex");
    *t = (ledger_terms){.usd_per_hour = value_or(NAN, given, "price", price),
                        .owned = {.capex_usd = value_or(NAN, given, "capex", v->owned.capex_usd),
                                  .salvage = v->owned.salvage,
                                  .years = value_or(4, given, "years", v->owned.years),
                                  .rate = v->owned.rate,
                                  .opex_usd_per_hour = v->owned.opex_usd_per_hour,
                                  .utilisation = value_or(1, given, "utilisation", v->owned.utilisation)},
                        .host_watts = value_or(NAN, given, "host-watts", v->host_watts),
                        .pue = value_or(NAN, given, "pue", v->pue),
                        .usd_per_kwh = value_or(NAN, given, "kwh-price", v->kwh_price)};
    if (v->grid) TRY(grid_find(&t->grid, v->grid));
    if (owned && options_given(given, "price")) FAIL(ARG, "--price, --capex: expected one of them");
    if (owned) return money_check(&t->owned);
    for (size_t i = 0; i < sizeof of_owners / sizeof *of_owners; i++)
        if (options_given(given, of_owners[i]))
            FAIL(ARG, "--%s: is for devices that are owned; expected --capex with it (rent includes power)",
                 of_owners[i]);
    return STATUS_OK;
}

text_source shared_options_text(const text_options *v, const char *const *paths, int count) {
    return (text_source){.paths = paths, .count = count, .text_key = v->key, .max_bad_lines = v->max_bad_lines};
}
