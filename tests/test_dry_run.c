/* A training step on a dry device: what it counts, and what it says a real step will need. */
#include "tests/tiny_model.h"

#include "parallel/comm_dry.h"
#include "runtime/device_dry.h"
#include "runtime/gemm.h"
#include "train/model/cost.h"
#include "train/model/presets.h"

/* --- FLOPs: the counters of every call, and the closed form --- */

static uint64_t draws;
static i64 draw(i64 least, i64 most) { return least + (i64)rng_below(12, 5, draws++, (uint64_t)(most - least + 1)); }

static model_config random_config(void) {
    static const architecture kinds[] = {ARCH_GPT2, ARCH_LLAMA, ARCH_QWEN2, ARCH_QWEN3, ARCH_MISTRAL};
    i64 K = draw(1, 8), D = 2 * draw(1, 64), L = draw(1, 9);
    model_config c = {.name = "random",
                      .L = L,
                      .C = draw(1, 3000),
                      .H = K * draw(1, 6),
                      .K = K,
                      .D = D,
                      .F = draw(1, 9000),
                      .V = draw(2, 60000),
                      .context = 4096,
                      .norm_eps = 1e-5f,
                      .rope = {.theta = 10000},
                      .init_std = 0.02,
                      .tied = draw(0, 1) != 0};
    architecture kind = kinds[draw(0, 4)];
    if (kind == ARCH_GPT2) c.K = c.H, c.C = c.H * D;
    presets_apply_architecture(&c, kind);
    if (draw(0, 2) == 0) c.attn_bias = true;
    if (draw(0, 2) == 0) c.window = draw(1, 700), c.full_layers[0] = (uint64_t)draw(0, (1 << L) - 1);
    return c;
}

static recompute_policy random_policy(i64 L) {
    recompute_kind kind = (recompute_kind)draw(RECOMPUTE_NONE, RECOMPUTE_BLOCK);
    return (recompute_policy){kind, kind == RECOMPUTE_BLOCK ? draw(0, L) : L};
}

static parameters_options random_options(void) {
    int pieces = (int)draw(1, 9), replicas = (int)draw(1, 4);
    shard_options how = {.ranks = pieces * replicas,
                         .stage = (shard_stage)draw(SHARD_NONE, SHARD_FULL),
                         .accumulate_locally = draw(0, 1) != 0,
                         .gather_bf16 = draw(0, 1) != 0};
    if (how.stage != SHARD_NONE) how.replicas = replicas;
    return (parameters_options){.t = draw(0, 1) ? BF16 : F32,
                                .master = draw(0, 1) != 0,
                                .moments = draw(0, 1) ? BF16 : F32,
                                .training = true,
                                .shard = how};
}

/* One micro-batch whose documents begin at random tokens. starts: of B*T tokens */
static void random_documents(int32_t *starts, i64 B, i64 T) {
    for (i64 n = 0; n < B * T; n++) {
        i64 t = n % T;
        starts[n] = t == 0 || draw(0, 20) == 0 ? (int32_t)t : starts[n - 1];
    }
}

static void check_counters(const device *dev, flop_counter expected, int number) {
    for (int w = 0; w < WORK_KINDS; w++)
        if (dev->flops.work[w] != expected.work[w])
            fail_msg("configuration %d, work %d: %.0f FLOPs counted, %.0f in closed form", number, w,
                     (double)dev->flops.work[w], (double)expected.work[w]);
}

static void run_one(int number) {
    enum { MOST = 4 * 600 };
    static int32_t tokens[MOST], starts[MOST];
    model_config c = random_config();
    bool documents = draw(0, 2) == 0;
    model_shape s = {.B = draw(1, 4), .T = draw(1, 600), .recompute = random_policy(c.L), .documents = documents};
    parameters_options o = random_options();
    i64 micro_batches = draw(1, 3);
    const device like = {.kind = DEVICE_CUDA, .threads = 1};
    device *dev;
    model m;
    step_state steps;
    int pieces;
    OK(fsdp_pieces(&pieces, &o.shard));
    OK(device_dry_open(&dev, &like));
    OK(comm_dry_open(&o.shard.world, o.shard.ranks, pieces));
    OK(step_init(&steps, &m, dev, &c, s, o));
    if (documents) {
        token_batch b = {.tokens = tokens, .targets = tokens, .B = s.B, .T = s.T, .starts = starts};
        random_documents(starts, s.B, s.T);
        parameters_weights_changed(&m.parameters);
        OK(model_forward_backward(&m, NULL, b, 1, true, true));
        check_counters(dev, cost_batch_flops(&c, s.recompute, b), number);
    } else {
        OK(step_dry_run(&steps, micro_batches));
        flop_counter all = cost_training_flops(&c, s.recompute, s.B * micro_batches, s.T);
        check_counters(dev, all, number);
        flop_counter none = cost_training_flops(&c, (recompute_policy){RECOMPUTE_NONE, 0}, s.B * micro_batches, s.T);
        assert_true(meter_flops_model(&dev->flops) == meter_flops_model(&none));
    }
    model_free(&m);
    comm_close(o.shard.world);
    device_close(dev);
}

static void counters_equal_the_closed_form_in_400_random_configurations(void **state) {
    (void)state;
    for (int i = 0; i < 400; i++) run_one(i);
}

static void a_step_beyond_64_bits_is_counted(void **state) {
    (void)state;
    model_config c = {.L = 126,
                      .C = 16384,
                      .H = 128,
                      .K = 8,
                      .D = 128,
                      .F = 53248,
                      .V = 128256,
                      .context = 131072,
                      .norm_eps = 1e-5f,
                      .rope = {.theta = 500000},
                      .init_std = 0.02};
    presets_apply_architecture(&c, ARCH_LLAMA);
    const model_shape s = {.B = 1024, .T = 8192, .recompute = {RECOMPUTE_BLOCK, c.L}};
    parameters_options o = {.t = BF16, .master = true, .moments = F32, .training = true};
    const device like = {.kind = DEVICE_CUDA, .threads = 1};
    device *dev;
    model m;
    step_state steps;
    OK(device_dry_open(&dev, &like));
    OK(comm_dry_open(&o.shard.world, 1, 1));
    OK(step_init(&steps, &m, dev, &c, s, o));
    OK(step_dry_run(&steps, 2));
    check_counters(dev, cost_training_flops(&c, s.recompute, 2 * s.B, s.T), 0);
    assert_true(meter_flops_model(&dev->flops) > UINT64_MAX);
    model_free(&m);
    comm_close(o.shard.world);
    device_close(dev);
}

/* --- memory --- */

static device *cpu;
static device_ops counted_ops;
static const device_ops *real_ops;
static int allocations;

static status counted_alloc(device *dev, void **memory, size_t bytes) {
    allocations++;
    return real_ops->alloc(dev, memory, bytes);
}

static void run_steps(step_state *steps, model *m, int32_t tokens[TINY_N], int32_t targets[TINY_N]) {
    const step_args a = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = 1, .micro_batches = 2};
    const float scale = 1.0f / (2 * TINY_N);
    step_result r;
    double nats;
    for (int step = 0; step < 2; step++) {
        OK(step_begin(steps));
        OK(model_forward_backward(m, NULL, tiny_batch_of(tokens, targets), scale, true, false));
        OK(model_forward_backward(m, NULL, tiny_batch_of(tokens, targets), scale, false, true));
        OK(step_update_weights(steps, &a));
        OK(step_collect(steps, &r));
        assert_false(r.skipped);
        OK(model_loss(m, &nats, tiny_batch_of(tokens, targets)));
    }
}

/* with and without products of bf16: then bf16 operands are widened */
static void steps_take_what_was_planned_and_allocate_nothing(void **state) {
    (void)state;
    static const recompute_policy policies[] = {{RECOMPUTE_NONE, 0}, {RECOMPUTE_SELECTIVE, 3}, {RECOMPUTE_BLOCK, 2}};
    const bool products = cpu->bf16_products;
    int32_t tokens[TINY_N], targets[TINY_N];
    tiny_batch(tokens, targets, 5);
    for (int i = 0; i < 24; i++) {
        model_config c = i % 2 ? tiny_llama() : tiny_gpt2();
        dtype t = i / 2 % 2 ? F32 : BF16;
        const model_shape s = {.B = TINY_B, .T = TINY_T, .recompute = policies[i / 4 % 3]};
        size_t planned[MEM_CATEGORIES];
        model m;
        step_state steps;
        cpu->bf16_products = products && i / 12;
        OK(step_memory(planned, cpu, &c, s, tiny_options(t)));
        tiny_open_steps(&steps, &m, cpu, &c, s.recompute, tiny_options(t));
        for (int k = 0; k < MEM_CHECKPOINT; k++) assert_int_equal(planned[k], m.memory.bytes[k]);
        assert_true(planned[MEM_CHECKPOINT] > 0);
        assert_int_equal(planned[MEM_GEMM], gemm_memory_bytes(cpu));
        allocations = 0;
        run_steps(&steps, &m, tokens, targets);
        assert_int_equal(allocations, 0);
        assert_int_equal(planned[MEM_GEMM], gemm_memory_bytes(cpu));
        model_free(&m);
    }
    cpu->bf16_products = products;
}

/* Two models on one device: the second takes the GEMM library's memory anew, and the first still computes the same. */
static void a_second_model_does_not_disturb_the_first(void **state) {
    (void)state;
    int32_t tokens[TINY_N], targets[TINY_N];
    tiny_batch(tokens, targets, 5);
    model_config c = tiny_gpt2(), other = tiny_llama();
    const recompute_policy none = {RECOMPUTE_NONE, 0};
    model first, second;
    step_state of_first, of_second;
    double before, between, after;
    tiny_open_steps(&of_first, &first, cpu, &c, none, tiny_options(BF16));
    OK(model_loss(&first, &before, tiny_batch_of(tokens, targets)));
    tiny_open_steps(&of_second, &second, cpu, &other, none, tiny_options(BF16));
    OK(model_loss(&first, &between, tiny_batch_of(tokens, targets)));
    run_steps(&of_second, &second, tokens, targets);
    model_free(&second);
    OK(model_loss(&first, &after, tiny_batch_of(tokens, targets)));
    assert_true(before == between && before == after);
    model_free(&first);
}

int main(void) {
    OK(device_open(&cpu, "cpu", 1, 0));
    real_ops = cpu->ops;
    counted_ops = *real_ops;
    counted_ops.alloc = counted_alloc;
    cpu->ops = &counted_ops;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_equal_the_closed_form_in_400_random_configurations),
        cmocka_unit_test(a_step_beyond_64_bits_is_counted),
        cmocka_unit_test(steps_take_what_was_planned_and_allocate_nothing),
        cmocka_unit_test(a_second_model_does_not_disturb_the_first),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(cpu);
    return failed;
}
