#include "train/model/cost.h"

flop_counter cost_training_flops(const model_config *c, recompute_policy r, i64 sequences, i64 T) {
    u128 L = (u128)c->L, C = (u128)c->C, F = (u128)c->F, V = (u128)c->V, n = c->swiglu ? 3 : 2;
    u128 q = (u128)c->H * (u128)c->D, k = (u128)c->K * (u128)c->D, t = (u128)T, s = (u128)sequences;
    u128 pairs = t * (t + 1) / 2; /* query-key pairs of a head */
    u128 block = 2 * t * (2 * C * q + 2 * C * k + n * C * F), down = 2 * t * C * F;
    u128 gemms = L * block + 2 * t * C * V; /* of a sequence, in forward, and again for dgrad and for wgrad */
    u128 attention = 4 * q * pairs;
    flop_counter f = {{0}};
    f.work[WORK_FORWARD] = s * (gemms + L * attention);
    f.work[WORK_DGRAD] = s * (gemms + L * 2 * attention);
    f.work[WORK_WGRAD] = s * gemms;
    /* flash attention recomputes its scores in every backward; norms and activations count no FLOPs */
    f.work[WORK_RECOMPUTE] = s * L * 2 * q * pairs;
    if (r.kind == RECOMPUTE_BLOCK) { /* the whole block but down, whose result only the next block reads */
        u128 again = r.blocks < 0 ? 0 : r.blocks < c->L ? (u128)r.blocks : L;
        f.work[WORK_RECOMPUTE] += s * again * (block - down + attention);
    }
    return f;
}

double cost_flops_per_token(const model_config *c, i64 T) {
    flop_counter f = cost_training_flops(c, (recompute_policy){RECOMPUTE_NONE, 0}, 1, T);
    return (double)meter_flops_model(&f) / (double)T;
}

double cost_flops_per_token_palm(const model_config *c, i64 T) {
    return 6 * (double)model_config_parameters(c) + 12 * (double)c->L * (double)(c->H * c->D) * (double)T;
}
