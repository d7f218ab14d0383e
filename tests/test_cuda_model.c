/* The whole model on CUDA against the CPU: losses, gradients, ten steps; and which results repeat bit by bit on one GPU. */
#include "tests/cuda_pair.h"

#include "tests/starts.h"
#include "tests/tiny_model.h"
#include "train/step.h"

enum { STEPS = 10 };

static const recompute_policy policies[] = {
    {RECOMPUTE_NONE, 0}, {RECOMPUTE_SELECTIVE, 3}, {RECOMPUTE_BLOCK, 3}, {RECOMPUTE_BLOCK, 1}};
enum { POLICIES = sizeof policies / sizeof *policies };

/* with heads of 64, which take the tensor cores' attention in bf16; T = 16 is one tile, so that the masks matter */
static model_config wide_llama(void) {
    model_config c = tiny_llama();
    c.L = 2, c.C = 64, c.H = 2, c.K = 1, c.D = 64, c.F = 96, c.V = TINY_V, c.qk_norm = false, c.arch = ARCH_LLAMA;
    return c;
}

static model_config wide_gpt2(void) {
    model_config c = tiny_gpt2();
    c.L = 2, c.C = 128, c.H = c.K = 2, c.D = 64, c.F = 256;
    return c;
}

typedef model_config (*config_of)(void);
static const config_of models[] = {tiny_gpt2, tiny_llama, wide_gpt2, wide_llama};
enum { MODELS = sizeof models / sizeof *models };

static const step_args some_step = {.lr = 1e-3,
                                    .beta1 = 0.9,
                                    .beta2 = 0.95,
                                    .eps = 1e-8,
                                    .weight_decay = 0.1,
                                    .clip = 1,
                                    .seed = 5,
                                    .micro_batches = 2};

static void one_step(step_state *steps, const step_args *a, uint64_t seed) {
    int32_t tokens[TINY_N], targets[TINY_N];
    for (i64 i = 0; i < a->micro_batches; i++) {
        tiny_batch(tokens, targets, seed + (uint64_t)i);
        if (i == 0) targets[3] = -1;
        OK(model_forward_backward(steps->m, NULL, tiny_batch_of(tokens, targets),
                                  (float)(1.0 / (double)(TINY_N * a->micro_batches)), i == 0,
                                  i + 1 == a->micro_batches));
    }
    OK(step_update_weights(steps, a));
}

static void copy_out(model *m, void *host, const void *from, i64 n, dtype t) {
    OK(m->dev->ops->copy(m->dev, host, from, (size_t)n * dtype_bytes(t)));
}

/* f32 sums in another order, through L layers, each of some ten roundings; bf16 rounds every tensor between */
static double tolerance(dtype t, i64 L) {
    return (double)(20 * (L + 1)) * (t == F32 ? 4 * F32_ROUNDOFF : BF16_ROUNDOFF / 8);
}

/* starts: of documents, or NULL */
static void compare_gradients(const model_config *c, dtype t, const int32_t *starts) {
    model m[2];
    double loss[2];
    int32_t tokens[TINY_N], targets[TINY_N];
    tiny_batch(tokens, targets, 1);
    token_batch b = tiny_batch_of(tokens, targets);
    b.starts = starts;
    for (int d = 0; d < 2; d++) {
        const model_shape s = {.B = TINY_B, .T = TINY_T, .documents = starts};
        OK(model_init(&m[d], d ? both.cuda : both.cpu, c, s, tiny_options(t), NULL));
        OK(parameters_randomize(&m[d].parameters, 11));
        OK(model_forward_backward(&m[d], &loss[d], b, 1.0f / TINY_N, true, true));
    }
    double bound = tolerance(t, c->L);
    if (!(fabs(loss[1] - loss[0]) <= bound * fabs(loss[0])))
        fail_msg("%s %s: loss %.9g on CUDA, %.9g on the CPU", c->name, dtype_name(t), loss[1], loss[0]);
    for (int i = 0; i < m[0].parameters.p.count; i++) {
        const param *p = &m[0].parameters.p.list[i];
        i64 n = p->rows * p->cols;
        check_same(param_table_name(p).text, F32, m[1].parameters.grads + p->offset, m[0].parameters.grads + p->offset,
                   n, 4 * bound);
    }
    assert_memory_equal(&both.cuda->flops, &both.cpu->flops, sizeof both.cpu->flops);
    model_free(&m[0]);
    model_free(&m[1]);
}

static void loss_and_gradients_are_the_cpus(void **unused) {
    (void)unused;
    for (int i = 0; i < MODELS; i++)
        for (int t = F32; t <= BF16; t++) {
            model_config c = models[i]();
            both.cuda->flops = both.cpu->flops = (flop_counter){0};
            compare_gradients(&c, (dtype)t, NULL);
        }
}

static void windows_and_documents_are_the_cpus(void **unused) {
    (void)unused;
    int32_t *starts = starts_draw(TINY_B, TINY_T, 6);
    for (int i = 0; i < MODELS; i++)
        for (int t = F32; t <= BF16; t++)
            for (int window = 0; window <= 5; window += 5) {
                model_config c = models[i]();
                c.window = window, c.full_layers[0] = 2;
                both.cuda->flops = both.cpu->flops = (flop_counter){0};
                compare_gradients(&c, (dtype)t, window && i % 2 ? NULL : starts);
            }
    free(starts);
}

static void ten_steps_are_the_cpus(void **unused) {
    (void)unused;
    for (int i = 0; i < MODELS; i++)
        for (int t = F32; t <= BF16; t++) {
            model_config c = models[i]();
            model m[2];
            step_state steps[2];
            step_result r[2];
            for (int d = 0; d < 2; d++)
                tiny_open_steps(&steps[d], &m[d], d ? both.cuda : both.cpu, &c, policies[0], tiny_options((dtype)t));
            for (uint64_t step = 0; step < STEPS; step++) {
                for (int d = 0; d < 2; d++) {
                    one_step(&steps[d], &some_step, step);
                    OK(step_collect(&steps[d], &r[d]));
                }
                double bound = (double)(step + 1) * tolerance((dtype)t, c.L);
                if (!(fabs(r[1].loss - r[0].loss) <= bound * r[0].loss) ||
                    !(fabs(r[1].grad_norm - r[0].grad_norm) <= 4 * bound * r[0].grad_norm))
                    fail_msg("%s %s step %lu: loss %.9g, norm %.9g on CUDA, %.9g, %.9g on the CPU", c.name,
                             dtype_name((dtype)t), step, r[1].loss, r[1].grad_norm, r[0].loss, r[0].grad_norm);
            }
            assert_int_equal(m[1].parameters.step, STEPS);
            model_free(&m[0]);
            model_free(&m[1]);
        }
}

/* the weights after three steps, on CUDA; the caller frees */
static void *weights_after(const model_config *c, dtype t, recompute_policy r, bool late, size_t *bytes) {
    model m;
    step_state steps;
    step_result result;
    parameters_options o = tiny_options(t);
    if (t == BF16) o.master = false, o.moments = BF16; /* stochastic rounding too */
    tiny_open_steps(&steps, &m, both.cuda, c, r, o);
    for (uint64_t step = 0; step < 3; step++) {
        one_step(&steps, &some_step, step);
        if (!late || step) OK(step_collect(&steps, &result));
    }
    if (late) OK(step_collect(&steps, &result));
    *bytes = (size_t)m.parameters.p.size * dtype_bytes(t);
    void *w = malloc(*bytes);
    copy_out(&m, w, m.parameters.weights, m.parameters.p.size, t);
    model_free(&m);
    return w;
}

static void recompute_policies_are_the_same_bits(void **unused) {
    (void)unused;
    for (int i = 0; i < MODELS; i++)
        for (int t = F32; t <= BF16; t++) {
            model_config c = models[i]();
            size_t bytes;
            void *plain = weights_after(&c, (dtype)t, policies[0], false, &bytes);
            for (int k = 1; k < POLICIES; k++) {
                recompute_policy r = policies[k];
                if (r.blocks > c.L) r.blocks = c.L;
                void *w = weights_after(&c, (dtype)t, r, false, &bytes);
                if (memcmp(plain, w, bytes)) fail_msg("%s %s, policy %d: other bits", c.name, dtype_name((dtype)t), k);
                free(w);
            }
            free(plain);
        }
}

static void a_late_look_changes_nothing(void **unused) {
    (void)unused;
    model_config c = wide_llama();
    size_t bytes;
    void *a = weights_after(&c, BF16, policies[0], false, &bytes),
         *b = weights_after(&c, BF16, policies[0], true, &bytes);
    assert_memory_equal(a, b, bytes);
    free(a);
    free(b);
}

static void a_step_that_is_not_finite_changes_nothing(void **unused) {
    (void)unused;
    model_config c = wide_gpt2();
    model m;
    step_state steps;
    step_result r;
    double bad = NAN;
    tiny_open_steps(&steps, &m, both.cuda, &c, policies[0], tiny_options(BF16));
    size_t bytes = (size_t)m.parameters.p.size * 2;
    void *before = malloc(bytes), *after = malloc(bytes);
    one_step(&steps, &some_step, 1);
    OK(step_collect(&steps, &r));
    assert_false(r.skipped);
    copy_out(&m, before, m.parameters.weights, m.parameters.p.size, BF16);
    OK(both.cuda->ops->copy(both.cuda, &steps.sums.mine->nats, &bad, sizeof bad));
    OK(step_update_weights(&steps, &some_step));
    OK(step_collect(&steps, &r));
    assert_true(r.skipped && m.parameters.step == 1);
    copy_out(&m, after, m.parameters.weights, m.parameters.p.size, BF16);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
    model_free(&m);
}

static void tokens_out_of_range_are_refused(void **unused) {
    (void)unused;
    model_config c = tiny_llama();
    model m;
    double loss;
    int32_t tokens[TINY_N], targets[TINY_N];
    tiny_open(&m, both.cuda, &c, policies[0], tiny_options(F32));
    tiny_batch(tokens, targets, 1);
    tokens[5] = TINY_V;
    FAILS(DATA, "token 61 at 5", model_loss(&m, &loss, tiny_batch_of(tokens, targets)));
    tokens[5] = 0, targets[7] = -2;
    FAILS(DATA, "target -2 at 7", model_loss(&m, &loss, tiny_batch_of(tokens, targets)));
    model_free(&m);
}

int main(void) {
    NEEDS_CUDA("test_cuda_model");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_and_gradients_are_the_cpus), cmocka_unit_test(windows_and_documents_are_the_cpus),
        cmocka_unit_test(ten_steps_are_the_cpus),          cmocka_unit_test(recompute_policies_are_the_same_bits),
        cmocka_unit_test(a_late_look_changes_nothing),     cmocka_unit_test(a_step_that_is_not_finite_changes_nothing),
        cmocka_unit_test(tokens_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
