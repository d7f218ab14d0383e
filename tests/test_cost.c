#include "tests/check.h"

#include <string.h>

#include "train/model/cost.h"
#include "train/model/presets.h"

static const recompute_policy none = {RECOMPUTE_NONE, 0}, selective = {RECOMPUTE_SELECTIVE, 0};

/* counts as the counters do, call by call: a GEMM [M,K] x [K,N] is 2MNK; attention pair by pair */
static uint64_t gemm(i64 M, i64 N, i64 K) { return 2 * (uint64_t)M * (uint64_t)N * (uint64_t)K; }
static uint64_t pairs_of_layer(const model_config *c, i64 layer, i64 B, i64 T) {
    uint64_t pairs = 0;
    bool full = c->full_layers[layer / 64] >> layer % 64 & 1;
    for (i64 i = 0; i < T; i++) pairs += (uint64_t)(c->window && !full && c->window < i + 1 ? c->window : i + 1);
    return (uint64_t)(B * c->H) * pairs;
}

static flop_counter count_calls(const model_config *c, i64 blocks_again, i64 B, i64 T) {
    flop_counter f = {{0}};
    i64 N = B * T, q = c->H * c->D, k = c->K * c->D, up = c->swiglu ? 2 * c->F : c->F;
    uint64_t D = (uint64_t)c->D;
    const i64 linears[][2] = {{c->C, q + 2 * k}, {q, c->C}, {c->C, up}, {c->F, c->C}};
    for (i64 l = 0; l < c->L; l++) {
        for (int i = 0; i < 4; i++) {
            uint64_t product = gemm(N, linears[i][1], linears[i][0]);
            f.work[WORK_FORWARD] += product;
            f.work[WORK_DGRAD] += product;
            f.work[WORK_WGRAD] += product;
            if (l < blocks_again && i < 3) f.work[WORK_RECOMPUTE] += product;
        }
        uint64_t pairs = pairs_of_layer(c, l, B, T);
        f.work[WORK_FORWARD] += 4 * D * pairs;
        f.work[WORK_DGRAD] += 8 * D * pairs;
        f.work[WORK_RECOMPUTE] += 2 * D * pairs;
        if (l < blocks_again) f.work[WORK_RECOMPUTE] += 4 * D * pairs;
    }
    for (int w = 0; w < WORK_KINDS; w++)
        if (w != WORK_RECOMPUTE) f.work[w] += gemm(N, c->V, c->C);
    return f;
}

static void check_equal(flop_counter a, flop_counter b) {
    for (int w = 0; w < WORK_KINDS; w++) assert_true(a.work[w] == b.work[w]);
}

static void test_closed_form_is_the_sum_of_the_calls(void **state) {
    (void)state;
    const char *const names[] = {"gpt2-124m", "llama-15m", "qwen3-0.6b", "qwen2.5-0.5b"};
    const i64 shapes[][2] = {{1, 1}, {3, 7}, {2, 256}, {8, 1024}};
    for (int m = 0; m < 8; m++) {
        model_config c;
        OK(model_config_load(&c, names[m % 4]));
        if (m >= 4) c.window = 100, c.full_layers[0] = 0x4011; /* layers 0, 4 and 14 */
        for (int s = 0; s < 4; s++) {
            i64 B = shapes[s][0], T = shapes[s][1];
            check_equal(cost_training_flops(&c, none, B, T), count_calls(&c, 0, B, T));
            check_equal(cost_training_flops(&c, selective, B, T), count_calls(&c, 0, B, T));
            for (i64 blocks = 0; blocks <= c.L; blocks += 5)
                check_equal(cost_training_flops(&c, (recompute_policy){RECOMPUTE_BLOCK, blocks}, B, T),
                            count_calls(&c, blocks, B, T));
            check_equal(cost_training_flops(&c, (recompute_policy){RECOMPUTE_BLOCK, c.L + 9}, B, T),
                        count_calls(&c, c.L, B, T));
        }
    }
}

static void test_training_is_three_times_forward_whatever_is_recomputed(void **state) {
    (void)state;
    for (int i = 0; i < presets_count(); i++) {
        model_config c;
        presets_get(&c, i);
        for (i64 T = 1; T <= 2048; T = T * 5 + 2) {
            flop_counter f = cost_training_flops(&c, none, 1, T);
            assert_int_equal(meter_flops_model(&f), 3 * f.work[WORK_FORWARD]);
            flop_counter again = cost_training_flops(&c, (recompute_policy){RECOMPUTE_BLOCK, c.L}, 1, T);
            assert_int_equal(meter_flops_model(&again), meter_flops_model(&f));
            assert_true(again.work[WORK_RECOMPUTE] > f.work[WORK_RECOMPUTE]);
            /* at most one more forward and the scores */
            assert_true(meter_flops_executed(&again) < meter_flops_executed(&f) + f.work[WORK_FORWARD]);
            flop_counter many = cost_training_flops(&c, none, 6, T);
            assert_int_equal(meter_flops_model(&many), 6 * meter_flops_model(&f));
        }
    }
}

static void test_a_step_beyond_64_bits_is_exact(void **state) {
    (void)state;
    model_config c = {.L = 126, .C = 16384, .H = 128, .K = 8, .D = 128, .F = 53248, .V = 128256, .swiglu = true};
    const i64 T = 8192,
              batches[] = {1024, 1 << 28}; /* 2e19 and 5e24 FLOP: a step's of 8.4 million tokens, and far more */
    flop_counter one = cost_training_flops(&c, none, 1, T), calls = count_calls(&c, 0, 1, T);
    check_equal(one, calls);
    for (int i = 0; i < 2; i++) {
        flop_counter f = cost_training_flops(&c, none, batches[i], T);
        assert_true(meter_flops_model(&f) > UINT64_MAX);
        assert_true(meter_flops_model(&f) == (u128)batches[i] * meter_flops_model(&calls));
        assert_true(meter_flops_executed(&f) == (u128)batches[i] * meter_flops_executed(&calls));
    }
}

static void test_known_models(void **state) {
    (void)state;
    model_config c;
    OK(model_config_load(&c, "gpt2-124m"));
    /* by hand: 3 (12 (2 (4*768^2 + 2*768*3072) + 2*768*1025) + 2*768*50257) */
    assert_true(cost_flops_per_token(&c, 1024) == 797870592.0);
    OK(model_config_load(&c, "llama3.1-8b"));
    /* 3 (32 (2 (2*4096^2 + 2*4096*1024 + 3*4096*14336) + 2*4096*8193) + 2*4096*128256) */
    assert_true(cost_flops_per_token(&c, 8192) == 51471187968.0);
    /* 6*8030261248 + 12*32*4096*8192 */
    assert_true(cost_flops_per_token_palm(&c, 8192) == 61066469376.0);
}

/* MosaicML's table: models of GPT-2's kind with a vocabulary of 50368. tokens/s are truncated to whole numbers there
 * and MFU is rounded to 0.01 percent: ours is at most 0.005 above, and at most that and one token/s below. */
static void test_published_mfu(void **state) {
    (void)state;
    FILE *f = fopen("../shared/data/published_mfu.csv", "r");
    if (!f) skip();
    char line[512];
    int rows = 0;
    assert_non_null(fgets(line, sizeof line, f));
    while (fgets(line, sizeof line, f)) {
        long long L, C, N, T;
        double tokens_per_s, mfu, peak;
        assert_int_equal(sscanf(line, "%*[^,],%lld,%lld,%lld,%lld,%*[^,],%*[^,],%*[^,],%*[^,],%lf,%lf,%*[^,],%lf", &L,
                                &C, &N, &T, &tokens_per_s, &mfu, &peak),
                         7);
        model_config c = {
            .L = L, .C = C, .H = C / 64, .K = C / 64, .D = 64, .F = 4 * C, .V = 50368, .context = T, .tied = true};
        presets_apply_architecture(&c, ARCH_GPT2);
        assert_int_equal(model_config_parameters(&c), N);
        double percent_a_token = 100 * cost_flops_per_token_palm(&c, T) / (peak * 1e12);
        double ours = tokens_per_s * percent_a_token;
        if (ours > mfu + 0.005 || ours < mfu - 0.005 - percent_a_token) fail_msg("%g, published: %s", ours, line);
        rows++;
    }
    fclose(f);
    assert_int_equal(rows, 144);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_form_is_the_sum_of_the_calls),
        cmocka_unit_test(test_training_is_three_times_forward_whatever_is_recomputed),
        cmocka_unit_test(test_a_step_beyond_64_bits_is_exact),
        cmocka_unit_test(test_known_models),
        cmocka_unit_test(test_published_mfu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
