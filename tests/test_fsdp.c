/* Sharding on as many ranks as it is started with: compared with one rank, with repeated runs, and with the formulas. */
#include <math.h>
#include <stdio.h>
#include <zlib.h>

#include "tests/tiny_model.h"
#include "train/step.h"

enum { SEQUENCES = 12, T = 16, STEPS = 50, BATCHES = 4 };

static device *dev;
static comm *world;

typedef struct {
    const char *name;
    shard_stage stage;
    int replicas;
    bool locally;
} stage_case;

static const stage_case stages[] = {
    {"none", SHARD_NONE, 1, false},
    {"optimizer", SHARD_OPTIMIZER, 1, false},
    {"gradients", SHARD_GRADIENTS, 1, false},
    {"full", SHARD_FULL, 1, false},
    {"gradients, reduced once", SHARD_GRADIENTS, 1, true},
    {"full, reduced once", SHARD_FULL, 1, true},
    {"optimizer, 2 replicas", SHARD_OPTIMIZER, 2, false},
    {"gradients, 2 replicas", SHARD_GRADIENTS, 2, false},
    {"full, 2 replicas", SHARD_FULL, 2, false},
};
enum { STAGES = sizeof stages / sizeof *stages };

static const recompute_policy policies[] = {
    {RECOMPUTE_NONE, 0}, {RECOMPUTE_SELECTIVE, 3}, {RECOMPUTE_BLOCK, 3}, {RECOMPUTE_BLOCK, 1}};

typedef struct {
    double loss[STEPS], norm[STEPS];
    uint32_t crc; /* of all weights, from the pieces */
    uint64_t bytes_sent;
} curve;

/* on one rank all stages are the same code */
static bool possible(const stage_case *s) {
    return world->ranks % s->replicas == 0 && (world->ranks > 1 || s->stage == SHARD_NONE || s == &stages[3]);
}

static shard_options sharding(const stage_case *s) {
    return (shard_options){
        .world = world, .stage = s->stage, .replicas = s->replicas, .accumulate_locally = s->locally};
}

static uint64_t bytes_sent(void) {
    OK(comm_barrier(world)); /* after the gathers still in flight */
    return comm_read_totals(world).bytes_sent;
}

/* sequence i of a step: the batches repeat, so that the model can learn them */
static void fill(int32_t *tokens, int32_t *targets, int step, i64 first, i64 count) {
    for (i64 i = 0; i < count * T; i++) {
        uint64_t at = (uint64_t)((step % BATCHES) * SEQUENCES + first) * T + (uint64_t)i;
        tokens[i] = (int32_t)rng_below(5, 98, at, TINY_V);
        targets[i] = (int32_t)rng_below(5, 98, at + 1, TINY_V);
    }
}

static uint32_t crc_of_weights(model *m) {
    uint32_t crc = 0;
    for (int u = 0; u < m->parameters.p.unit_count; u++) {
        unit_views v;
        OK(parameters_whole(&m->parameters, u, &v));
        for (int kind = 0; kind < P_KINDS; kind++) {
            const param *p = param_table_find(&m->parameters.p, u, kind);
            if (!p) continue;
            size_t bytes = (size_t)(p->rows * p->cols) * dtype_bytes(m->parameters.o.t);
            crc = (uint32_t)crc32(crc, v.w[kind], (unsigned)bytes);
        }
    }
    parameters_whole_end(&m->parameters);
    return crc;
}

/* 50 steps of the same global batches, `micro` on each rank a step */
static void train(curve *out, const model_config *c, parameters_options o, recompute_policy r, int micro, double clip) {
    int ranks = o.shard.world->ranks, rank = o.shard.world->rank;
    i64 B = SEQUENCES / ranks / micro;
    int32_t tokens[SEQUENCES * T], targets[SEQUENCES * T];
    model m;
    step_state steps;
    OK(step_init(&steps, &m, dev, c, (model_shape){.B = B, .T = T, .recompute = r}, o));
    OK(parameters_randomize(&m.parameters, 11));
    uint64_t sent = 0;
    for (int step = 0; step < STEPS; step++) {
        step_args a = {.lr = 3e-3,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-6,
                       .weight_decay = 0.1,
                       .clip = clip,
                       .micro_batches = micro,
                       .seed = 3};
        step_result result;
        double loss;
        if (step == 1) sent = bytes_sent(); /* the first step's slots are not typical */
        for (int i = 0; i < micro; i++) {
            fill(tokens, targets, step, (i * ranks + rank) * B, B);
            OK(model_forward_backward(&m, &loss, (token_batch){.tokens = tokens, .targets = targets, .B = B, .T = T},
                                      1.0f / (SEQUENCES * T), i == 0, i + 1 == micro));
        }
        OK(step_update_weights(&steps, &a));
        OK(step_collect(&steps, &result));
        out->loss[step] = result.loss;
        out->norm[step] = result.grad_norm;
    }
    out->bytes_sent = (bytes_sent() - sent) / (STEPS - 1); /* the barrier's few bytes are less than one a step */
    out->crc = crc_of_weights(&m);
    model_free(&m);
}

static parameters_options options_of(dtype t, shard_options how) {
    parameters_options o = tiny_options(t);
    o.shard = how;
    return o;
}

/* Of a step's loss: what rounding its sum may do, and once more for every step before, since Adam divides by the root of a
 * mean of squares and so a rounding of a gradient near zero comes back as a fraction of the learning rate in the weight. A
 * gradient is a product of some ten rounded factors (layers forward and backward) where the loss is a mean. */
static double tolerance_of(dtype t) { return t == F32 ? 0x1p-24 * 8 : 0x1p-9 / 2; }
enum { NORM_TOLERANCE = 10 };

static void near(const char *what, int step, const char *name, double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * expected))
        fail_msg("%s, rank %d of %d, step %d: %s %.9g, one rank has %.9g (%.2g of it apart, allowed %.2g)", what,
                 world->rank, world->ranks, step, name, got, expected, fabs(got / expected - 1), tolerance);
}

static void compare(const char *what, const curve *got, const curve *expected, double a_step) {
    for (int i = 0; i < STEPS; i++) {
        near(what, i, "loss", got->loss[i], expected->loss[i], a_step * (i + 1));
        near(what, i, "gradient norm", got->norm[i], expected->norm[i], NORM_TOLERANCE * a_step * (i + 1));
    }
}

/* every recompute policy with the four stages; policy none with their variations and with several micro-batches */
static int policies_for(int stage, int micro) { return stage <= 3 && micro == 1 ? 4 : 1; }

static void curves_equal_one_rank(const model_config *c, dtype t) {
    curve alone, first = {0}, got;
    char what[128];
    int more = world->ranks == 4 ? 3 : 2;
    train(&alone, c, tiny_options(t), policies[0], 1, 1);
    assert_true(alone.loss[STEPS - 1] < 0.9 * alone.loss[0]);
    for (int micro = 1; micro <= more; micro += more - 1)
        for (int s = 0; s < STAGES; s++)
            for (int r = 0; possible(&stages[s]) && r < policies_for(s, micro); r++) {
                snprintf(what, sizeof what, "%s %s %s, recompute %d, %d micro-batches", c->name, dtype_name(t),
                         stages[s].name, r, micro);
                train(&got, c, options_of(t, sharding(&stages[s])), policies[r], micro, 1);
                compare(what, &got, &alone, tolerance_of(t));
                if (r == 0) first = got;
                if (got.crc != first.crc) fail_msg("%s: other bits than without recompute", what);
            }
}

static void fp32_curves_equal_one_rank(void **unused) {
    (void)unused;
    model_config gpt2 = tiny_gpt2(), llama = tiny_llama();
    curves_equal_one_rank(&gpt2, F32);
    curves_equal_one_rank(&llama, F32);
}

static void bf16_curves_equal_one_rank(void **unused) {
    (void)unused;
    model_config gpt2 = tiny_gpt2(), llama = tiny_llama();
    curves_equal_one_rank(&gpt2, BF16);
    curves_equal_one_rank(&llama, BF16);
}

/* Sums are in the order of ranks in every stage: without clipping (the norm's sum is by pieces) the bits are the same. */
static void stages_give_the_same_bits(void **unused) {
    (void)unused;
    model_config configs[] = {tiny_gpt2(), tiny_llama()};
    for (int i = 0; i < 4; i++) {
        curve first = {0}, got;
        for (int s = 0; s < STAGES; s++) {
            if (!possible(&stages[s]) || stages[s].replicas > 1) continue;
            train(&got, &configs[i % 2], options_of(i < 2 ? F32 : BF16, sharding(&stages[s])), policies[0], 1, 0);
            if (s == 0) first = got;
            if (got.crc != first.crc) fail_msg("%s: other weights than with none", stages[s].name);
            assert_memory_equal(got.loss, first.loss, sizeof got.loss);
        }
        train(&got, &configs[i % 2], options_of(i < 2 ? F32 : BF16, sharding(&stages[3])), policies[0], 1, 0);
        assert_true(got.crc == first.crc);
    }
}

static void narrow_wires_stay_within_bf16(void **unused) {
    (void)unused;
    model_config c = tiny_llama();
    curve alone, got;
    train(&alone, &c, tiny_options(F32), policies[0], 1, 1);
    for (int s = 0; s < STAGES; s++) {
        if (!possible(&stages[s])) continue;
        shard_options o = sharding(&stages[s]);
        o.gather_bf16 = o.reduce_bf16 = true;
        train(&got, &c, options_of(F32, o), policies[0], 1, 1);
        compare(stages[s].name, &got, &alone, tolerance_of(BF16));
    }
}

static void no_master_and_narrow_moments(void **unused) {
    (void)unused;
    model_config c = tiny_llama();
    curve first = {0}, got;
    for (int s = 0; s < STAGES; s++) {
        if (!possible(&stages[s]) || stages[s].replicas > 1) continue;
        parameters_options o = options_of(BF16, sharding(&stages[s]));
        o.master = false;
        o.moments = BF16;
        train(&got, &c, o, policies[0], 1, 0);
        if (s == 0) first = got;
        assert_true(got.crc == first.crc); /* stochastic rounding is keyed by the element, wherever it lies */
    }
}

/* --- bytes sent, against the formulas of fsdp.h written out --- */

static i64 units_size(const param_table *p, int from, int to) {
    i64 sum = 0;
    for (int u = from; u <= to; u++) sum += p->units[u].size;
    return sum;
}

/* elements that are gathered in a step of M micro-batches */
static i64 gathered(const param_table *p, const model_config *c, const stage_case *s, int M) {
    int last = p->unit_count - 1, L = last - 1;
    if (s->stage != SHARD_FULL) return p->size;
    i64 edges = p->units[0].size + p->units[last].size;
    i64 forward = units_size(p, 1, L), again = units_size(p, 1, L - 2), kept = units_size(p, 1, L < 2 ? L : 2);
    /* backward finds the last two blocks in their slots, the next micro-batch the first two, and the edges too where tied */
    return edges + forward + again + (M - 1) * ((c->tied ? 0 : edges) + forward - kept + again);
}

/* sums, weights: bytes of an element on the wire */
static uint64_t expected_bytes(const param_table *p, const model_config *c, const stage_case *s, int sums, int weights,
                               int M) {
    int W = world->ranks, R = s->stage == SHARD_NONE ? W : s->replicas, S = W / R;
    bool every = s->stage >= SHARD_GRADIENTS && !s->locally && S > 1;
    uint64_t bytes = 0;
    if (S > 1) {
        bytes += (uint64_t)(p->size / S * (S - 1) * sums * (every ? M : 1));
        bytes += (uint64_t)gathered(p, c, s, M) / (uint64_t)S * (uint64_t)(S - 1) * (uint64_t)weights;
    }
    if (R > 1) bytes += (uint64_t)(2 * (R - 1)) * (uint64_t)(p->size / S) * (uint64_t)sums / (uint64_t)R;
    return bytes;
}

static void check_bytes(const model_config *c, const stage_case *s, dtype t, bool narrow, int micro) {
    curve got;
    param_table p;
    int pieces;
    shard_options o = sharding(s);
    o.gather_bf16 = o.reduce_bf16 = narrow;
    OK(fsdp_pieces(&pieces, &o));
    OK(param_table_init(&p, c, pieces));
    train(&got, c, options_of(t, o), policies[2], micro, 1);
    uint64_t expected = (uint64_t)(world->ranks - 1) * 16; /* for loss and norm */
    if (world->ranks > 1) expected += expected_bytes(&p, c, s, narrow ? 2 : 4, narrow || t == BF16 ? 2 : 4, micro);
    param_table_free(&p);
    if (got.bytes_sent != expected)
        fail_msg("%s %s %s%s, %d micro-batches: %lu bytes sent a step, the formula says %lu", c->name, dtype_name(t),
                 s->name, narrow ? ", bf16 on the wire" : "", micro, got.bytes_sent, expected);
}

static void bytes_sent_are_the_formula(void **unused) {
    (void)unused;
    if (world->ranks == 3)
        return; /* pieces of an all-reduce differ by an element there; 2 and 4 ranks test the bytes */
    model_config configs[] = {tiny_gpt2(), tiny_llama()};
    int more = world->ranks == 4 ? 3 : 2;
    for (int s = 0; s < STAGES; s++) {
        if (!possible(&stages[s])) continue;
        for (int i = 0; i < 2; i++) {
            check_bytes(&configs[i], &stages[s], BF16, false, 1);
            check_bytes(&configs[i], &stages[s], BF16, false, more);
        }
        check_bytes(&configs[1], &stages[s], F32, false, 1);
        check_bytes(&configs[1], &stages[s], F32, true, 1);
    }
}

static void replicas_must_divide(void **unused) {
    (void)unused;
    int pieces;
    FAILS(ARG, "--replicas 3", fsdp_pieces(&pieces, &(shard_options){.ranks = 8, .stage = SHARD_FULL, .replicas = 3}));
    OK(fsdp_pieces(&pieces, &(shard_options){.ranks = 8, .stage = SHARD_FULL, .replicas = 2}));
    assert_int_equal(pieces, 4);
    FAILS(ARG, "--replicas 2", fsdp_pieces(&pieces, &(shard_options){.ranks = 8, .stage = SHARD_NONE, .replicas = 2}));
    OK(fsdp_pieces(&pieces, &(shard_options){.ranks = 8, .stage = SHARD_NONE}));
    assert_int_equal(pieces, 1);
}

int main(void) {
    OK(comm_open(&world, 60));
    OK(device_open(&dev, "cpu", 1, 0));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp32_curves_equal_one_rank),   cmocka_unit_test(bf16_curves_equal_one_rank),
        cmocka_unit_test(stages_give_the_same_bits),    cmocka_unit_test(narrow_wires_stay_within_bf16),
        cmocka_unit_test(no_master_and_narrow_moments), cmocka_unit_test(bytes_sent_are_the_formula),
        cmocka_unit_test(replicas_must_divide),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) comm_abort(world, 1);
    device_close(dev);
    comm_close(world);
    return failed;
}
