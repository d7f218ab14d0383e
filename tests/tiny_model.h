/* Tiny models and batches that several tests share. */
#ifndef TALLY_TINY_MODEL_H
#define TALLY_TINY_MODEL_H

#include "tests/check.h"
#include "train/step.h"

enum { TINY_V = 61, TINY_B = 2, TINY_T = 16, TINY_N = TINY_B * TINY_T };

/* GPT-2; Llama with grouped queries, qk-norm and biases of qkv, so that every switch is on once */
static inline model_config tiny_gpt2(void) {
    return (model_config){.name = "tiny-gpt2",
                          .arch = ARCH_GPT2,
                          .L = 3,
                          .C = 24,
                          .H = 4,
                          .K = 4,
                          .D = 6,
                          .F = 72,
                          .V = TINY_V,
                          .context = 32,
                          .norm_eps = 1e-5f,
                          .layer_norm = true,
                          .learned_positions = true,
                          .qkv_bias = true,
                          .attn_bias = true,
                          .mlp_bias = true,
                          .tied = true,
                          .init_std = 0.15};
}
static inline model_config tiny_llama(void) {
    return (model_config){.name = "tiny-llama",
                          .arch = ARCH_QWEN3,
                          .L = 3,
                          .C = 24,
                          .H = 4,
                          .K = 2,
                          .D = 8,
                          .F = 40,
                          .V = TINY_V,
                          .context = 32,
                          .norm_eps = 1e-5f,
                          .swiglu = true,
                          .qk_norm = true,
                          .rope = {.theta = 10000},
                          .init_std = 0.15};
}

static inline void tiny_batch(int32_t tokens[TINY_N], int32_t targets[TINY_N], uint64_t seed) {
    for (uint64_t i = 0; i < TINY_N; i++) {
        tokens[i] = (int32_t)rng_below(seed, 98, i, TINY_V);
        targets[i] = (int32_t)rng_below(seed + 1, 98, i, TINY_V);
    }
}

static inline token_batch tiny_batch_of(const int32_t *tokens, const int32_t *targets) {
    return (token_batch){.tokens = tokens, .targets = targets, .B = TINY_B, .T = TINY_T};
}

/* this process alone; open until it ends */
static inline comm *tiny_world(void) {
    static comm *world;
    if (!world) OK(comm_open_self(&world));
    return world;
}

static inline parameters_options tiny_options(dtype t) {
    return (parameters_options){
        .t = t, .master = true, .moments = F32, .training = true, .shard = {.world = tiny_world()}};
}

static inline void tiny_open(model *m, device *dev, const model_config *c, recompute_policy r, parameters_options o) {
    OK(model_init(m, dev, c, (model_shape){.B = TINY_B, .T = TINY_T, .recompute = r}, o, NULL));
    OK(parameters_randomize(&m->parameters, 11));
}

/* the same with steps */
static inline void tiny_open_steps(step_state *s, model *m, device *dev, const model_config *c, recompute_policy r,
                                   parameters_options o) {
    OK(step_init(s, m, dev, c, (model_shape){.B = TINY_B, .T = TINY_T, .recompute = r}, o));
    OK(parameters_randomize(&m->parameters, 11));
}

#endif
