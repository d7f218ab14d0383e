/* The search against every configuration one by one, without its order and its shortcuts. */
#include "tests/check.h"
#include "tests/plan_problem.h"

#include <string.h>

#include "tools/plan_search.h"

static plan_request request(const char *name, int devices, i64 sequences) {
    plan_request r = plan_problem(devices);
    r.step.s.B = sequences;
    r.m.net.per_node = 2;
    r.usd_per_device_hour = 2;
    OK(model_config_load(&r.step.c, name));
    return r;
}

typedef struct {
    double memory, cost;
} dot;

static dot every[20000];
static int every_count;

static void make_every(const plan_request *base) {
    static const recompute_policy policies[] = {{RECOMPUTE_NONE, 0},  {RECOMPUTE_SELECTIVE, 12}, {RECOMPUTE_BLOCK, 2},
                                                {RECOMPUTE_BLOCK, 3}, {RECOMPUTE_BLOCK, 5},      {RECOMPUTE_BLOCK, 6},
                                                {RECOMPUTE_BLOCK, 8}, {RECOMPUTE_BLOCK, 9},      {RECOMPUTE_BLOCK, 11},
                                                {RECOMPUTE_BLOCK, 12}};
    static const int sharding[][2] = {{SHARD_NONE, 1},      {SHARD_OPTIMIZER, 1}, {SHARD_OPTIMIZER, 2},
                                      {SHARD_GRADIENTS, 1}, {SHARD_GRADIENTS, 2}, {SHARD_FULL, 1},
                                      {SHARD_FULL, 2}};
    i64 sequences = base->step.s.B * base->step.micro_batches;
    every_count = 0;
    for (i64 B = 1; B <= sequences; B *= 2)
        for (size_t p = 0; p < sizeof policies / sizeof *policies; p++)
            for (size_t s = 0; s < sizeof sharding / sizeof *sharding; s++)
                for (int moments = 0; moments < 2; moments++) {
                    plan_request r = *base;
                    plan made;
                    r.step.s.B = B, r.step.micro_batches = sequences / B, r.step.s.recompute = policies[p];
                    r.step.o.moments = moments ? BF16 : F32;
                    r.step.o.shard.stage = (shard_stage)sharding[s][0], r.step.o.shard.replicas = sharding[s][1];
                    OK(plan_make(&made, &r));
                    every[every_count++] = (dot){made.memory_bytes, made.usd_per_mtok};
                }
}

static double cheapest_within(double memory) {
    double best = INFINITY;
    for (int i = 0; i < every_count; i++)
        if (every[i].memory <= memory && every[i].cost < best) best = every[i].cost;
    return best;
}

static void test_the_frontier_is_that_of_every_configuration(void **state) {
    (void)state;
    plan_request base = request("gpt2-124m", 4, 4);
    plan_search_result r;
    make_every(&base);
    double small = INFINITY, large = 0;
    for (int i = 0; i < every_count; i++) small = fmin(small, every[i].memory), large = fmax(large, every[i].memory);
    for (int limit = 0; limit < 3; limit++) {
        base.memory_limit = small + (large - small) * limit / 8; /* most take little */
        OK(plan_search_run(&r, &base, (plan_search_kept){0}));
        assert_int_equal(r.configurations, every_count);
        assert_true(r.count > 2 && r.simulated <= r.configurations);
        for (int i = 0; i < r.count; i++) {
            double cost = r.frontier[i].device_s_per_token * 2 / 3600 * 1e6;
            if (i) assert_true(r.frontier[i].p.memory_bytes > r.frontier[i - 1].p.memory_bytes);
            if (i) assert_true(r.frontier[i].device_s_per_token < r.frontier[i - 1].device_s_per_token);
            assert_true(fabs(cost / cheapest_within(r.frontier[i].p.memory_bytes) - 1) < 1e-12);
        }
        assert_true(r.frontier[0].p.memory_bytes == small);
        assert_true(fabs(r.frontier[r.count - 1].device_s_per_token * 2 / 3600 * 1e6 / cheapest_within(large) - 1) <
                    1e-12);
        const plan_search_point *best = &r.frontier[r.cheapest];
        assert_true(best->p.memory_bytes <= base.memory_limit);
        assert_true(fabs(best->device_s_per_token * 2 / 3600 * 1e6 / cheapest_within(base.memory_limit) - 1) < 1e-12);
        i64 fitting = 0;
        for (int i = 0; i < every_count; i++) fitting += every[i].memory <= base.memory_limit;
        assert_int_equal(r.fitting, fitting);
        plan_search_free(&r);
    }
    base.memory_limit = small - 1;
    OK(plan_search_run(&r, &base, (plan_search_kept){0}));
    assert_true(r.cheapest == -1 && r.fitting == 0 && r.count > 2);
    plan_search_free(&r);
}

static void test_what_is_given_is_kept(void **state) {
    (void)state;
    plan_request base = request("gpt2-124m", 4, 6);
    base.step.s.recompute = (recompute_policy){RECOMPUTE_BLOCK, 7};
    base.step.o.shard.stage = SHARD_GRADIENTS, base.step.o.shard.replicas = 2, base.step.o.moments = BF16;
    plan_search_result r;
    OK(plan_search_run(&r, &base,
                       (plan_search_kept){.recompute = true, .stage = true, .replicas = true, .moments = true}));
    assert_int_equal(r.configurations, 4); /* micro-batches of 1, 2, 3 and 6 */
    for (int i = 0; i < r.count; i++) {
        const step_plan *s = &r.frontier[i].step;
        assert_true(s->s.recompute.blocks == 7 && s->o.shard.stage == SHARD_GRADIENTS && s->o.shard.replicas == 2 &&
                    s->o.moments == BF16 && s->s.B * s->micro_batches == 6);
    }
    plan_search_free(&r);
    base.step.o.shard.replicas = 0;
    OK(plan_search_run(&r, &base, (plan_search_kept){.recompute = true, .stage = true, .replicas = true}));
    assert_int_equal(r.configurations, 8);
    plan_search_free(&r);
}

static void test_one_device_has_one_stage(void **state) {
    (void)state;
    plan_request base = request("llama-3m", 1, 4);
    plan_search_result r;
    OK(plan_search_run(&r, &base, (plan_search_kept){.recompute = true, .moments = true}));
    assert_int_equal(r.configurations, 3);
    plan_search_free(&r);
}

/* a given MFU is that of the base; other configurations run their GEMMs at the same rate */
static void test_a_given_mfu_gives_the_rate_of_gemms(void **state) {
    (void)state;
    plan_request base = request("gpt2-124m", 4, 4);
    plan p;
    OK(plan_make(&p, &base));
    plan_search_result simulated, r;
    OK(plan_search_run(&simulated, &base, (plan_search_kept){0}));
    base.mfu = p.mfu[PLAN_EXACT];
    OK(plan_search_run(&r, &base, (plan_search_kept){0}));
    assert_true(fabs(r.gemm_flops_per_s / 1e14 - 1) < 1e-6 && r.count == simulated.count);
    assert_string_equal(plan_search_describe(&r.frontier[r.cheapest].step).text,
                        plan_search_describe(&simulated.frontier[simulated.cheapest].step).text);
    plan_search_free(&simulated);
    plan_search_free(&r);
    base.mfu = base.peak = NAN, base.tokens_per_s = 1e12;
    FAILS(ARG, "faster than the links", plan_search_run(&r, &base, (plan_search_kept){0}));
    plan_search_free(&r);
}

static void test_a_configuration_reads_as_options(void **state) {
    (void)state;
    step_plan s = request("gpt2-124m", 8, 4).step;
    s.micro_batches = 3, s.s.recompute = (recompute_policy){RECOMPUTE_BLOCK, 5}, s.o.shard.replicas = 2,
    s.o.moments = BF16;
    assert_string_equal(plan_search_describe(&s).text,
                        "--batch 4 --accumulate 3 --recompute block:5 --shard full --replicas 2 --moments bf16");
    s.s.recompute.blocks = 12, s.o.shard.replicas = 0;
    assert_non_null(strstr(plan_search_describe(&s).text, "--recompute block --shard full --moments"));
}

static void test_the_picture_escapes_names(void **state) {
    (void)state;
    plan_request base = request("llama-3m", 2, 4);
    plan_search_result r;
    char *text = NULL;
    size_t bytes;
    snprintf(base.step.c.name, sizeof base.step.c.name, "a<b>&\"c\".json");
    base.memory_limit = 1e8;
    OK(plan_search_run(&r, &base, (plan_search_kept){0}));
    FILE *out = open_memstream(&text, &bytes);
    plan_search_svg(out, &r, &base);
    fclose(out);
    assert_non_null(strstr(text, "a&lt;b&gt;&amp;&quot;c&quot;.json"));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "<b>"));
    free(text);
    plan_search_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_frontier_is_that_of_every_configuration),
        cmocka_unit_test(test_what_is_given_is_kept),
        cmocka_unit_test(test_one_device_has_one_stage),
        cmocka_unit_test(test_a_given_mfu_gives_the_rate_of_gemms),
        cmocka_unit_test(test_a_configuration_reads_as_options),
        cmocka_unit_test(test_the_picture_escapes_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
