/* The sharding engine between GPUs. First the order of its operations, without a model: weights and gradients are whole
 * numbers that encode their unit, element, rank and step, so that sums are exact in any order. The computation only queues
 * copies, and what they read is checked at the end. Then models, against one rank. Runs alone and on any number of ranks
 * (test_cuda_ranks.sh), with the communicator that --comm KIND would open. KIND order: no models. */
#include <math.h>
#include <stdio.h>

#include "runtime/options.h"
#include "tests/tiny_model.h"
#include "train/step.h"

#ifdef TALLY_CUDA
#include "parallel/comm_math_cuda.h"
#include "runtime/cuda.h"

enum { UNITS = 6, STEPS = 3, MICRO = 2, PASSES = 2 };

static comm *world, *peers;
static device *dev;

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

static bool possible(const stage_case *s) {
    return world->ranks % s->replicas == 0 && (world->ranks > 1 || s->stage == SHARD_NONE || s == &stages[3]);
}

/* --- the order of operations --- */

typedef struct {
    const char *what;
    fsdp f;
    unit units[UNITS];
    i64 size; /* of all units */
    dtype t;
    bool tied;
    arena memory;
    float *source;                    /* [size] gradients of a micro-batch, before they are added or copied */
    char *seen[STEPS][MICRO][PASSES]; /* [size] of t: the weights that a pass found */
    float *sums[STEPS];               /* [size]: this rank's pieces, the others' places unused */
    float *host;                      /* [size] */
    void *narrow;                     /* [size] of t */
} bench;

static float weight(int u, i64 i, int step) { return (float)((u * 37 + i * 5 + step * 11) % 127); }

static float gradient(int u, i64 i, int rank, int step, int micro) {
    return (float)((u * 13 + i * 7 + rank * 29 + step * 3 + micro * 17) % 101);
}

static void layout(bench *b, arena *a) {
    size_t all = (size_t)b->size;
    fsdp_layout(&b->f, a);
    b->source = arena_take(a, MEM_SCRATCH, all * 4);
    for (int s = 0; s < STEPS; s++) {
        b->sums[s] = arena_take(a, MEM_SCRATCH, all * 4);
        for (int i = 0; i < MICRO * PASSES; i++)
            b->seen[s][i / PASSES][i % PASSES] = arena_take(a, MEM_SCRATCH, all * dtype_bytes(b->t));
    }
}

static void open_bench(bench *b, const stage_case *s, dtype t, bool narrow, bool tied) {
    static const i64 used[UNITS] = {1900, 700, 700, 700, 700, 1300};
    int pieces;
    shard_options o = {.world = peers,
                       .stage = s->stage,
                       .replicas = s->replicas,
                       .gather_bf16 = narrow,
                       .reduce_bf16 = false,
                       .accumulate_locally = s->locally};
    *b = (bench){.what = s->name, .t = t, .tied = tied};
    OK(fsdp_pieces(&pieces, &o));
    for (int u = 0; u < UNITS; u++) {
        b->units[u] = (unit){.offset = b->size, .size = unit_padded_size(used[u], pieces)};
        b->size += b->units[u].size;
    }
    OK(fsdp_init(&b->f, dev, b->units, UNITS, tied, true, t, o));
    layout(b, &b->memory);
    OK(arena_commit(&b->memory, dev));
    layout(b, &b->memory);
    b->host = malloc((size_t)b->size * 4);
    b->narrow = malloc((size_t)b->size * dtype_bytes(t));
}

static void close_bench(bench *b) {
    fsdp_free(&b->f);
    arena_free(&b->memory);
    free(b->host);
    free(b->narrow);
}

/* queued, as the optimizer's kernels are */
static void write_weights(bench *b, int step) {
    for (int u = 0; u < UNITS; u++) {
        fsdp_piece p = fsdp_piece_of(&b->f, u);
        for (i64 i = 0; i < p.count; i++) {
            float w = weight(u, p.first + i, step);
            if (b->t == BF16) ((bf16 *)b->narrow)[i] = bf16_from_f32(w);
            else ((float *)b->narrow)[i] = w;
        }
        OK(dev->ops->upload(dev, p.weights, b->narrow, (size_t)p.count * dtype_bytes(b->t)));
    }
    fsdp_weights_changed(&b->f);
}

static void queue_copy(void *to, const void *from, size_t bytes) {
    OK(dev->ops->copy_rows(dev, to, bytes, from, bytes, bytes, 1));
}

static void look(bench *b, char *seen, int u, const void *w) {
    size_t element = dtype_bytes(b->t);
    queue_copy(seen + (size_t)b->units[u].offset * element, w, (size_t)b->units[u].size * element);
}

static void add_gradients(bench *b, float *dw, int u, bool accumulate) {
    const float *from = b->source + b->units[u].offset;
    if (accumulate) OK(comm_math_add_cuda(cuda_stream(dev), dw, from, b->units[u].size));
    else queue_copy(dw, from, (size_t)b->units[u].size * 4);
}

/* The stream of collectives runs ahead of the computation, or behind it, in turns. */
static void let_run(int turn) {
    for (int i = 0; i < turn % 5; i++) OK(comm_check(peers));
}

static void forward(bench *b, char *seen, int turn) {
    const void *w;
    for (int u = 0; u < UNITS - 1; u++) {
        OK(fsdp_enter(&b->f, u, PASS_FORWARD, &w));
        let_run(turn + u);
        look(b, seen, u, w);
        OK(fsdp_leave(&b->f, u));
    }
}

static void backward(bench *b, char *seen, int turn) {
    const void *w, *tied;
    float *dw, *embedding = NULL;
    bool accumulate, on_top = false;
    for (int u = UNITS - 1; u > 0; u--) {
        OK(fsdp_enter(&b->f, u, PASS_BACKWARD, &w));
        if (u == UNITS - 1 && b->tied) OK(fsdp_enter(&b->f, 0, PASS_STAY, &tied));
        let_run(turn + u);
        look(b, seen, u, w);
        OK(fsdp_gradients(&b->f, u, &dw, &accumulate));
        if (u == UNITS - 1 && b->tied) {
            look(b, seen, 0, tied);
            OK(fsdp_gradients(&b->f, 0, &embedding, &on_top));
            OK(fsdp_leave(&b->f, 0));
        }
        add_gradients(b, dw, u, accumulate);
        OK(fsdp_leave(&b->f, u));
        OK(fsdp_reduce(&b->f, u));
    }
    if (!b->tied) OK(fsdp_gradients(&b->f, 0, &embedding, &on_top));
    add_gradients(b, embedding, 0, on_top);
    OK(fsdp_reduce(&b->f, 0));
}

static void run_step(bench *b, int step) {
    for (int micro = 0; micro < MICRO; micro++) {
        for (int u = 0; u < UNITS; u++)
            for (i64 i = 0; i < b->units[u].size; i++)
                b->host[b->units[u].offset + i] = gradient(u, i, world->rank, step, micro);
        OK(dev->ops->upload(dev, b->source, b->host, (size_t)b->size * 4));
        OK(fsdp_begin(&b->f, micro == 0, micro + 1 == MICRO));
        forward(b, b->seen[step][micro][0], step + micro);
        backward(b, b->seen[step][micro][1], 2 * step + micro);
    }
    OK(fsdp_finish_gradients(&b->f));
    for (int u = 0; u < UNITS; u++) {
        fsdp_piece p = fsdp_piece_of(&b->f, u);
        queue_copy(b->sums[step] + b->units[u].offset + p.first, p.grads, (size_t)p.count * 4);
    }
}

static void expect(const bench *b, const char *what, int step, int u, i64 i, float got, float want) {
    if (got != want)
        fail_msg("%s, %s, rank %d of %d: %s of step %d, unit %d, element %ld: %g, expected %g", peers->name, b->what,
                 world->rank, world->ranks, what, step, u, i, got, want);
}

/* w [size]: in the GPU's memory */
static void check_weights(bench *b, const char *what, const void *w, int step, int from, int to) {
    i64 offset = b->units[from].offset, n = b->units[to].offset + b->units[to].size - offset;
    OK(dev->ops->copy(dev, b->narrow, tensor_at(w, b->t, offset), (size_t)n * dtype_bytes(b->t)));
    for (int u = from; u <= to; u++)
        for (i64 i = 0; i < b->units[u].size; i++) {
            i64 k = b->units[u].offset - offset + i;
            float got = b->t == BF16 ? bf16_to_f32(((bf16 *)b->narrow)[k]) : ((float *)b->narrow)[k];
            expect(b, what, step, u, i, got, weight(u, i, step));
        }
}

static void check_sums(bench *b, int step) {
    OK(dev->ops->copy(dev, b->host, b->sums[step], (size_t)b->size * 4));
    for (int u = 0; u < UNITS; u++) {
        fsdp_piece p = fsdp_piece_of(&b->f, u);
        for (i64 i = p.first; i < p.first + p.count; i++) {
            float want = 0;
            for (int k = 0; k < MICRO * world->ranks; k++) want += gradient(u, i, k / MICRO, step, k % MICRO);
            expect(b, "sum of gradients", step, u, i, b->host[b->units[u].offset + i], want);
        }
    }
}

static void check_whole(bench *b, int step) {
    for (int u = 0; u < UNITS; u++) {
        const void *w;
        OK(fsdp_whole(&b->f, u, &w));
        OK(dev->ops->copy(dev, b->narrow, w, (size_t)b->units[u].size * dtype_bytes(b->t)));
        for (i64 i = 0; i < b->units[u].size; i++) {
            float got = b->t == BF16 ? bf16_to_f32(((bf16 *)b->narrow)[i]) : ((float *)b->narrow)[i];
            expect(b, "whole unit", step, u, i, got, weight(u, i, step));
        }
    }
    fsdp_whole_end(&b->f);
}

/* nothing waits for the host from the first step to the last */
static void check_order(const stage_case *s, dtype t, bool narrow, bool tied) {
    bench b;
    open_bench(&b, s, t, narrow, tied);
    for (int step = 0; step < STEPS; step++) {
        write_weights(&b, step);
        run_step(&b, step);
    }
    OK(comm_barrier(peers));
    for (int step = 0; step < STEPS; step++) {
        for (int micro = 0; micro < MICRO; micro++) {
            check_weights(&b, "forward's weights", b.seen[step][micro][0], step, 0, UNITS - 2);
            check_weights(&b, "backward's weights", b.seen[step][micro][1], step, !b.tied, UNITS - 1);
        }
        check_sums(&b, step);
    }
    OK(comm_check(peers));
    check_whole(&b, STEPS - 1);
    close_bench(&b);
}

static void order_of_things(void **unused) {
    (void)unused;
    for (int s = 0; s < STAGES; s++) {
        if (!possible(&stages[s])) continue;
        check_order(&stages[s], F32, false, false);
        check_order(&stages[s], F32, true, true);
        check_order(&stages[s], BF16, false, true);
        check_order(&stages[s], BF16, false, false);
    }
}

/* --- models --- */

enum { SEQUENCES = 12, T = 16, UPDATES = 4 };

typedef struct {
    double loss[UPDATES], norm[UPDATES];
} curve;

static void fill(int32_t *tokens, int32_t *targets, int step, i64 first, i64 count) {
    for (i64 i = 0; i < count * T; i++) {
        uint64_t at = (uint64_t)(step * SEQUENCES + first) * T + (uint64_t)i;
        tokens[i] = (int32_t)rng_below(5, 98, at, TINY_V);
        targets[i] = (int32_t)rng_below(5, 98, at + 1, TINY_V);
    }
}

/* the same global batches, `micro` on each rank a step; a step's result is read while the next step runs */
static void train(curve *out, const model_config *c, parameters_options o, recompute_policy r, int micro) {
    int ranks = o.shard.world->ranks, rank = o.shard.world->rank;
    i64 B = SEQUENCES / ranks / micro;
    int32_t tokens[SEQUENCES * T], targets[SEQUENCES * T];
    step_args a = {.lr = 3e-3,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = 1e-6,
                   .weight_decay = 0.1,
                   .clip = 1,
                   .micro_batches = micro,
                   .seed = 3};
    model m;
    step_state steps;
    OK(step_init(&steps, &m, dev, c, (model_shape){.B = B, .T = T, .recompute = r}, o));
    OK(parameters_randomize(&m.parameters, 11));
    for (int step = 0; step <= UPDATES; step++) {
        for (int i = 0; step < UPDATES && i < micro; i++) {
            fill(tokens, targets, step, (i * ranks + rank) * B, B);
            OK(model_forward_backward(&m, NULL, (token_batch){.tokens = tokens, .targets = targets, .B = B, .T = T},
                                      1.0f / (SEQUENCES * T), i == 0, i + 1 == micro));
        }
        step_result result;
        if (step > 0) {
            OK(step_collect(&steps, &result));
            out->loss[step - 1] = result.loss;
            out->norm[step - 1] = result.grad_norm;
        }
        if (step < UPDATES) OK(step_update_weights(&steps, &a));
    }
    OK(comm_check(peers));
    model_free(&m);
}

/* test_fsdp.c says why */
static double tolerance_of(dtype t) { return t == F32 ? 0x1p-24 * 8 : 0x1p-9 / 2; }
enum { NORM_TOLERANCE = 10 };

static void near(const char *what, int step, const char *name, double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * expected))
        fail_msg("%s, %s, rank %d of %d, step %d: %s %.9g, one rank has %.9g (%.2g of it apart, allowed %.2g)",
                 peers->name, what, world->rank, world->ranks, step, name, got, expected, fabs(got / expected - 1),
                 tolerance);
}

static void curves_equal_one_rank(const model_config *c, dtype t) {
    static const recompute_policy none = {RECOMPUTE_NONE, 0}, block = {RECOMPUTE_BLOCK, 3};
    curve alone, got;
    char what[128];
    int more = world->ranks == 4 ? 3 : 2;
    train(&alone, c, tiny_options(t), none, 1);
    for (int s = 0; s < STAGES; s++) {
        if (!possible(&stages[s])) continue;
        parameters_options o = tiny_options(t);
        o.shard = (shard_options){.world = peers,
                                  .stage = stages[s].stage,
                                  .replicas = stages[s].replicas,
                                  .accumulate_locally = stages[s].locally};
        int micro = s % 2 ? more : 1;
        snprintf(what, sizeof what, "%s %s %s, %d micro-batches", c->name, dtype_name(t), stages[s].name, micro);
        train(&got, c, o, s % 2 ? none : block, micro);
        for (int i = 0; i < UPDATES; i++) {
            double a_step = tolerance_of(t) * (i + 1);
            near(what, i, "loss", got.loss[i], alone.loss[i], a_step);
            near(what, i, "gradient norm", got.norm[i], alone.norm[i], NORM_TOLERANCE * a_step);
        }
    }
}

static void models(void **unused) {
    (void)unused;
    model_config gpt2 = tiny_gpt2(), llama = tiny_llama();
    for (int t = F32; t <= BF16; t++) {
        curves_equal_one_rank(&gpt2, (dtype)t);
        curves_equal_one_rank(&llama, (dtype)t);
    }
}

int main(int argc, char **argv) {
    OK(comm_open(&world, 100));
    if (device_open(&dev, "cuda", 0, world->placement->local_rank)) {
        printf("1..1\nok 1 - test_cuda_fsdp # SKIP %s\n", status_message());
        comm_close(world);
        return 0;
    }
    int kind = options_choice(CHOICES_TEXT(COMM_KIND_LIST), argc > 1 ? argv[1] : "auto");
    assert_true(kind >= 0);
    OK(comm_open_device(&peers, world, dev, (comm_kind)kind));
    const struct CMUnitTest tests[] = {cmocka_unit_test(order_of_things), cmocka_unit_test(models)};
    const struct CMUnitTest just_order[] = {cmocka_unit_test(order_of_things)};
    bool order_only = argc > 2 && strcmp(argv[2], "order") == 0;
    int failed = order_only ? cmocka_run_group_tests_name("order", just_order, NULL, NULL)
                            : cmocka_run_group_tests_name("all", tests, NULL, NULL);
    if (failed) comm_abort(world, 1);
    comm_close(peers);
    device_close(dev);
    comm_close(world);
    return failed;
}
#else
int main(void) {
    puts("1..1\nok 1 - test_cuda_fsdp # SKIP a build without CUDA");
    return 0;
}
#endif
