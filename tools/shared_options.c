#include "tools/shared_options.h"

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

text_source shared_options_text(const text_options *v, const char *const *paths, int count) {
    return (text_source){.paths = paths, .count = count, .text_key = v->key, .max_bad_lines = v->max_bad_lines};
}
