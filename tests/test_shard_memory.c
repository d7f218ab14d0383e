/* A rank's memory by the formulas of fsdp.h and block.h, against the plan. */
#include "tests/check.h"
#include "train/step.h"

static device *dev;

static const char *const models[] = {"gpt2-124m", "qwen2.5-0.5b", "llama3.2-1b", "llama3.1-8b"};
enum { MODELS = sizeof models / sizeof *models };

static double block_parameters(const model_config *c) {
    double C = (double)c->C, q = (double)(c->H * c->D), k = (double)(c->K * c->D), F = (double)c->F;
    double n = C * (q + 2 * k) + q * C + (c->swiglu ? 3 : 2) * C * F + (c->layer_norm ? 4 : 2) * C;
    if (c->qkv_bias) n += q + 2 * k;
    if (c->attn_bias) n += C;
    if (c->mlp_bias) n += (c->swiglu ? 2 : 1) * F + C;
    return n + (c->qk_norm ? 2 * (double)c->D : 0);
}

static void within_2_percent(const char *name, int ranks, shard_stage stage, const char *what, double got,
                             double expected) {
    if (!(fabs(got - expected) <= 0.02 * expected))
        fail_msg("%s, %d ranks, stage %d, %s: %.0f bytes, the formula says %.0f", name, ranks, (int)stage, what, got,
                 expected);
}

static void check(const char *name, const model_config *c, int ranks, shard_stage stage, bool locally) {
    size_t bytes[MEM_CATEGORIES];
    parameters_options o = {.t = BF16,
                            .master = true,
                            .moments = F32,
                            .training = true,
                            .shard = {.ranks = ranks, .stage = stage, .accumulate_locally = locally}};
    OK(step_memory(bytes, dev, c, (model_shape){.B = 1, .T = 128, .recompute = {RECOMPUTE_BLOCK, c->L}}, o));
    double P = (double)model_config_parameters(c), N = ranks, block = block_parameters(c);
    double table = (double)(c->V * c->C), embedding = table + (c->learned_positions ? (double)(c->context * c->C) : 0);
    bool sharded = ranks > 1, full = sharded && stage == SHARD_FULL;
    bool piecewise = sharded && stage >= SHARD_GRADIENTS && !locally;
    double owned = stage == SHARD_NONE ? P : P / N, slots = 2 * block + embedding;
    within_2_percent(name, ranks, stage, "weights", (double)bytes[MEM_WEIGHTS], full ? 2 * P / N : 2 * P);
    within_2_percent(name, ranks, stage, "master", (double)bytes[MEM_MASTER], 4 * owned);
    within_2_percent(name, ranks, stage, "moments", (double)bytes[MEM_MOMENTS], 8 * owned);
    within_2_percent(name, ranks, stage, "gradients", (double)bytes[MEM_GRADIENTS], piecewise ? 4 * P / N : 4 * P);
    within_2_percent(name, ranks, stage, "slots", (double)bytes[MEM_SLOTS],
                     (full ? 2 * slots : 0) + (piecewise ? 4 * slots : 0));
}

static void plans_follow_the_formulas(void **unused) {
    (void)unused;
    static const int ranks[] = {1, 2, 3, 4, 8, 64};
    for (int i = 0; i < MODELS; i++) {
        model_config c;
        OK(model_config_load(&c, models[i]));
        for (int n = 0; n < 6; n++)
            for (shard_stage stage = SHARD_NONE; stage <= SHARD_FULL; stage++) {
                check(models[i], &c, ranks[n], stage, false);
                check(models[i], &c, ranks[n], stage, true);
            }
    }
}

static void replicas_hold_what_their_group_size_says(void **unused) {
    (void)unused;
    model_config c;
    OK(model_config_load(&c, "gpt2-124m"));
    size_t of_8[MEM_CATEGORIES], of_4[MEM_CATEGORIES];
    parameters_options o = {.t = BF16, .master = true, .moments = F32, .training = true};
    o.shard = (shard_options){.ranks = 8, .stage = SHARD_FULL, .replicas = 2};
    OK(step_memory(of_8, dev, &c, (model_shape){.B = 1, .T = 128, .recompute = {RECOMPUTE_NONE, 0}}, o));
    o.shard = (shard_options){.ranks = 4, .stage = SHARD_FULL};
    OK(step_memory(of_4, dev, &c, (model_shape){.B = 1, .T = 128, .recompute = {RECOMPUTE_NONE, 0}}, o));
    assert_memory_equal(of_8, of_4, sizeof of_8);
}

int main(void) {
    OK(device_open(&dev, "cpu", 2, 0));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_follow_the_formulas),
        cmocka_unit_test(replicas_hold_what_their_group_size_says),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(dev);
    return failed;
}
