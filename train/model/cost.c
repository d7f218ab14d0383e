#include "train/model/cost.h"

#include "layers/attention.h"

/* of one head of all sequences, in a layer without a window and in one with it */
typedef struct {
    u128 full, windowed;
} pair_counts;

static pair_counts count_pairs(const model_config *c, i64 sequences, i64 T, const int32_t *starts) {
    return (pair_counts){attention_pairs(sequences, T, 0, starts), attention_pairs(sequences, T, c->window, starts)};
}

static u128 pairs_of_layers(const model_config *c, i64 layers, pair_counts pairs) {
    u128 sum = 0;
    for (i64 l = 0; l < layers; l++) sum += model_config_window(c, l) ? pairs.windowed : pairs.full;
    return sum;
}

static flop_counter training_flops(const model_config *c, recompute_policy r, u128 tokens, pair_counts pairs) {
    u128 L = (u128)c->L, C = (u128)c->C, F = (u128)c->F, V = (u128)c->V, n = c->swiglu ? 3 : 2;
    u128 q = (u128)c->H * (u128)c->D, k = (u128)c->K * (u128)c->D;
    u128 block = 2 * tokens * (2 * C * q + 2 * C * k + n * C * F), down = 2 * tokens * C * F;
    u128 gemms = L * block + 2 * tokens * C * V; /* in forward, and again for dgrad and for wgrad */
    u128 all = pairs_of_layers(c, c->L, pairs);
    flop_counter f = {{0}};
    f.work[WORK_FORWARD] = gemms + 4 * q * all;
    f.work[WORK_DGRAD] = gemms + 8 * q * all;
    f.work[WORK_WGRAD] = gemms;
    /* flash attention recomputes its scores in every backward; norms and activations count no FLOPs */
    f.work[WORK_RECOMPUTE] = 2 * q * all;
    if (r.kind == RECOMPUTE_BLOCK) { /* the whole block but down, whose result only the next block reads */
        i64 again = r.blocks < 0 ? 0 : r.blocks < c->L ? r.blocks : c->L;
        f.work[WORK_RECOMPUTE] += (u128)again * (block - down) + 4 * q * pairs_of_layers(c, again, pairs);
    }
    return f;
}

flop_counter cost_training_flops(const model_config *c, recompute_policy r, i64 sequences, i64 T) {
    return training_flops(c, r, (u128)sequences * (u128)T, count_pairs(c, sequences, T, NULL));
}

flop_counter cost_batch_flops(const model_config *c, recompute_policy r, token_batch b) {
    return training_flops(c, r, (u128)b.B * (u128)b.T, count_pairs(c, b.B, b.T, b.starts));
}

double cost_flops_per_token(const model_config *c, i64 T) {
    flop_counter f = cost_training_flops(c, (recompute_policy){RECOMPUTE_NONE, 0}, 1, T);
    return (double)meter_flops_model(&f) / (double)T;
}

double cost_flops_per_token_palm(const model_config *c, i64 T) {
    return 6 * (double)model_config_parameters(c) + 12 * (double)c->L * (double)(c->H * c->D) * (double)T;
}
