#include "runtime/gemm.h"
#include "tests/tiny_model.h"
#include "train/model/cost.h"
#include "train/step.h"

static device *dev;

static const recompute_policy policies[] = {
    {RECOMPUTE_NONE, 0}, {RECOMPUTE_SELECTIVE, 3}, {RECOMPUTE_BLOCK, 3}, {RECOMPUTE_BLOCK, 1}};
enum { POLICIES = sizeof policies / sizeof *policies };

static model_config config_of(int family) { return family == 0 ? tiny_gpt2() : tiny_llama(); }

static double loss_at(model *m, const param *p, const float *origin, const float *direction, double step,
                      const int32_t *tokens, const int32_t *targets) {
    float *w = (float *)m->parameters.weights + p->offset;
    i64 n = p->rows * p->cols;
    for (i64 i = 0; i < n; i++) w[i] = (float)(origin[i] + step * direction[i]);
    gemm_weights_changed(m->dev);
    double loss;
    OK(model_loss(m, &loss, tiny_batch_of(tokens, targets)));
    memcpy(w, origin, (size_t)n * 4);
    return loss / TINY_N;
}

/* Along its own gradient, every parameter's directional derivative is |g|. Richardson's combination of two central
 * differences leaves a truncation error of the fourth order of a step that changes the loss by about 0.01, so rounding
 * (about 10 roundings of a mean loss of 4: 10 * 2^-24 * 4 / 0.01 = 2.4e-4, times 5/3 from the combination) is what is
 * left; 2e-3 leaves truncation three times as much again. */
static void gradients_are_finite_differences(void **unused) {
    (void)unused;
    for (int family = 0; family < 2; family++) {
        model_config c = config_of(family);
        model m;
        int32_t tokens[TINY_N], targets[TINY_N];
        double loss;
        tiny_batch(tokens, targets, 5);
        tiny_open(&m, dev, &c, policies[0], tiny_options(F32));
        OK(model_forward_backward(&m, &loss, tiny_batch_of(tokens, targets), 1.0f / TINY_N, true, true));
        for (int i = 0; i < m.parameters.p.count; i++) {
            const param *p = &m.parameters.p.list[i];
            i64 n = p->rows * p->cols;
            const float *g = m.parameters.grads + p->offset;
            float *origin = malloc((size_t)n * 4), *direction = malloc((size_t)n * 4);
            memcpy(origin, (float *)m.parameters.weights + p->offset, (size_t)n * 4);
            double length = 0;
            for (i64 j = 0; j < n; j++) length += (double)g[j] * g[j];
            length = sqrt(length);
            assert_true(length > 0);
            for (i64 j = 0; j < n; j++) direction[j] = (float)(g[j] / length);
            double h = 0.005 / length;
            double coarse = (loss_at(&m, p, origin, direction, h, tokens, targets) -
                             loss_at(&m, p, origin, direction, -h, tokens, targets)) /
                            (2 * h);
            double fine = (loss_at(&m, p, origin, direction, h / 2, tokens, targets) -
                           loss_at(&m, p, origin, direction, -h / 2, tokens, targets)) /
                          h;
            double derivative = (4 * fine - coarse) / 3;
            if (!(fabs(derivative - length) <= 2e-3 * length))
                fail_msg("%s %s: finite difference %.6g, gradient %.6g", c.name, param_table_name(p).text, derivative,
                         length);
            free(origin);
            free(direction);
        }
        model_free(&m);
    }
}

static void recompute_policies_give_the_same_bits(void **unused) {
    (void)unused;
    for (int family = 0; family < 2; family++)
        for (dtype t = F32; t <= BF16; t++) {
            model_config c = config_of(family);
            int32_t tokens[TINY_N], targets[TINY_N];
            tiny_batch(tokens, targets, 5);
            float *first = NULL;
            double first_loss = 0;
            for (int p = 0; p < POLICIES; p++) {
                model m;
                double loss;
                tiny_open(&m, dev, &c, policies[p], tiny_options(t));
                OK(model_forward_backward(&m, &loss, tiny_batch_of(tokens, targets), 1.0f / TINY_N, true, true));
                size_t bytes = (size_t)m.parameters.p.size * 4;
                if (!first) {
                    first = malloc(bytes);
                    memcpy(first, m.parameters.grads, bytes);
                    first_loss = loss;
                }
                assert_memory_equal(first, m.parameters.grads, bytes);
                assert_true(loss == first_loss);
                model_free(&m);
            }
            free(first);
        }
}

static void counters_equal_the_closed_form(void **unused) {
    (void)unused;
    for (int family = 0; family < 2; family++)
        for (int p = 0; p < POLICIES; p++) {
            model_config c = config_of(family);
            model m;
            double loss;
            int32_t tokens[TINY_N], targets[TINY_N];
            tiny_batch(tokens, targets, 5);
            tiny_open(&m, dev, &c, policies[p], tiny_options(BF16));
            flop_counter before = dev->flops, expected = cost_training_flops(&c, policies[p], TINY_B, TINY_T);
            OK(model_forward_backward(&m, &loss, tiny_batch_of(tokens, targets), 1, false, true));
            for (int k = 0; k < WORK_KINDS; k++)
                assert_int_equal(dev->flops.work[k] - before.work[k], expected.work[k]);
            model_free(&m);
        }
}

static void accumulating_twice_doubles(void **unused) {
    (void)unused;
    for (dtype t = F32; t <= BF16; t++) {
        model_config c = tiny_llama();
        model m;
        double loss;
        int32_t tokens[TINY_N], targets[TINY_N];
        tiny_batch(tokens, targets, 5);
        tiny_open(&m, dev, &c, policies[0], tiny_options(t));
        i64 n = m.parameters.p.size;
        float *once = malloc((size_t)n * 4);
        double *twice = malloc((size_t)n * 8);
        OK(model_forward_backward(&m, &loss, tiny_batch_of(tokens, targets), 1, true, true));
        memcpy(once, m.parameters.grads, (size_t)n * 4);
        for (i64 i = 0; i < n; i++) twice[i] = 2.0 * once[i];
        OK(model_forward_backward(&m, &loss, tiny_batch_of(tokens, targets), 1, false, true));
        /* the same sums started from another value: as many f32 roundings as there are rows and vocabulary, in norm
         * their square root; 32 rows and 2 chunks, so 16 roundings are ample */
        check_close("accumulated", m.parameters.grads, twice, n, 16 * F32_ROUNDOFF);
        OK(model_forward_backward(&m, &loss, tiny_batch_of(tokens, targets), 1, true, true));
        assert_memory_equal(once, m.parameters.grads, (size_t)n * 4); /* and = overwrites old values */
        free(once);
        free(twice);
        model_free(&m);
    }
}

static void planned_memory_is_what_is_taken(void **unused) {
    (void)unused;
    for (int p = 0; p < POLICIES; p++) {
        model_config c = tiny_llama();
        model m;
        size_t planned[MEM_CATEGORIES];
        OK(model_plan(planned, dev, &c, (model_shape){.B = TINY_B, .T = TINY_T, .recompute = policies[p]},
                      tiny_options(BF16), NULL));
        tiny_open(&m, dev, &c, policies[p], tiny_options(BF16));
        assert_memory_equal(planned, m.memory.bytes, sizeof planned);
        assert_int_equal(m.memory.used, m.memory.capacity);
        model_free(&m);
    }
}

/* the formulas of block.h, on a published shape: L layers add exactly L times one layer */
static void activation_memory_follows_the_formula(void **unused) {
    (void)unused;
    model_config c;
    OK(model_config_load(&c, "llama3.2-1b"));
    i64 t = 4 * 256, q = c.H * c.D, k = c.K * c.D;
    i64 kept[] = {2 * t * (4 * c.C + 2 * q + 2 * k + 3 * c.F) + 4 * t * (c.H + 2),
                  2 * t * (2 * c.C + 2 * q + 2 * k + 2 * c.F) + 4 * t * (c.H + 2), 2 * t * c.C};
    for (int p = 0; p < 3; p++) {
        size_t shallow[MEM_CATEGORIES], deep[MEM_CATEGORIES];
        recompute_policy r = policies[p];
        r.blocks = c.L;
        OK(model_plan(deep, dev, &c, (model_shape){.B = 4, .T = 256, .recompute = r}, tiny_options(BF16), NULL));
        model_config fewer = c;
        fewer.L = c.L - 4;
        r.blocks = fewer.L;
        OK(model_plan(shallow, dev, &fewer, (model_shape){.B = 4, .T = 256, .recompute = r}, tiny_options(BF16), NULL));
        assert_int_equal(deep[MEM_ACTIVATIONS] - shallow[MEM_ACTIVATIONS], 4 * kept[p]);
    }
}

static void checkpointing_saves_at_least_70_percent(void **unused) {
    (void)unused;
    model_config c;
    size_t none[MEM_CATEGORIES], block[MEM_CATEGORIES];
    OK(model_config_load(&c, "gpt2-124m"));
    assert_int_equal(c.L, 12);
    OK(model_plan(none, dev, &c, (model_shape){.B = 4, .T = 256, .recompute = {RECOMPUTE_NONE, 0}}, tiny_options(BF16),
                  NULL));
    OK(model_plan(block, dev, &c, (model_shape){.B = 4, .T = 256, .recompute = {RECOMPUTE_BLOCK, 12}},
                  tiny_options(BF16), NULL));
    assert_true((double)block[MEM_ACTIVATIONS] <= 0.3 * (double)none[MEM_ACTIVATIONS]);
}

static void a_step_that_is_not_finite_changes_nothing(void **unused) {
    (void)unused;
    model_config c = tiny_gpt2();
    model m;
    step_state steps;
    tiny_open_steps(&steps, &m, dev, &c, policies[0], tiny_options(BF16));
    size_t bytes = (size_t)m.parameters.p.size * 2;
    void *before = malloc(bytes);
    memcpy(before, m.parameters.weights, bytes);
    step_args a = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = 1, .micro_batches = 1};
    step_result r;
    m.parameters.grads[7] = INFINITY;
    OK(step_update_weights(&steps, &a));
    OK(step_collect(&steps, &r));
    assert_true(r.skipped);
    m.parameters.grads[7] = 0;
    steps.sums.mine->nats = NAN;
    OK(step_update_weights(&steps, &a));
    OK(step_collect(&steps, &r));
    assert_true(r.skipped);
    assert_memory_equal(before, m.parameters.weights, bytes);
    assert_int_equal(m.parameters.step, 0);
    free(before);
    model_free(&m);
}

/* The last position alone is not finite, and its target is not counted. Whether a loss that is counted sees the NaN
 * depends on the kernels (attention's tiles; AMX, gemm.h). The gradients of the weights always do. */
static void a_row_that_is_not_counted_skips_the_step_too(void **unused) {
    (void)unused;
    enum { ONLY_LAST = TINY_V - 1 };
    for (int family = 0; family < 2; family++)
        for (int t = 0; t < 2; t++) {
            model_config c = config_of(family);
            model m;
            step_state steps;
            int32_t tokens[TINY_N], targets[TINY_N];
            step_args a = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = 1, .micro_batches = 1};
            step_result r;
            tiny_batch(tokens, targets, 5);
            tiny_open_steps(&steps, &m, dev, &c, policies[0], tiny_options(t ? BF16 : F32));
            for (int i = 0; i < TINY_N; i++) {
                bool last = i % TINY_T == TINY_T - 1;
                tokens[i] = last ? ONLY_LAST : tokens[i] % ONLY_LAST;
                if (last) targets[i] = -1;
            }
            unit_views w = parameters_views(&m.parameters, 0);
            param_kind where = c.learned_positions ? P_WPE : P_WTE;
            i64 row = c.learned_positions ? TINY_T - 1 : ONLY_LAST;
            memset(tensor_at((void *)(uintptr_t)w.w[where], m.parameters.o.t, row * c.C), 0xff,
                   dtype_bytes(m.parameters.o.t));
            gemm_weights_changed(dev);
            OK(model_forward_backward(&m, NULL, tiny_batch_of(tokens, targets), 1.0f / TINY_N, true, true));
            OK(step_update_weights(&steps, &a));
            OK(step_collect(&steps, &r));
            assert_true(r.skipped && !isfinite(r.grad_norm));
            assert_int_equal(m.parameters.step, 0);
            model_free(&m);
        }
}

static void sequences_beyond_the_context_are_refused(void **unused) {
    (void)unused;
    model_config c = tiny_gpt2();
    model m;
    FAILS(ARG, "context of 32",
          model_init(&m, dev, &c, (model_shape){.B = 1, .T = 33, .recompute = policies[0]}, tiny_options(F32), NULL));
}

int main(void) {
    OK(device_open(&dev, "cpu", 2, 0));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_finite_differences),
        cmocka_unit_test(recompute_policies_give_the_same_bits),
        cmocka_unit_test(counters_equal_the_closed_form),
        cmocka_unit_test(accumulating_twice_doubles),
        cmocka_unit_test(planned_memory_is_what_is_taken),
        cmocka_unit_test(activation_memory_follows_the_formula),
        cmocka_unit_test(checkpointing_saves_at_least_70_percent),
        cmocka_unit_test(a_step_that_is_not_finite_changes_nothing),
        cmocka_unit_test(a_row_that_is_not_counted_skips_the_step_too),
        cmocka_unit_test(sequences_beyond_the_context_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(dev);
    return failed;
}
