/* Whole models with a sliding window in some layers, and with documents that do not see each other. */
#include "layers/attention.h"
#include "tests/starts.h"
#include "tests/tiny_model.h"
#include "train/model/cost.h"

static device *dev;

static const recompute_policy policies[] = {
    {RECOMPUTE_NONE, 0}, {RECOMPUTE_SELECTIVE, 3}, {RECOMPUTE_BLOCK, 3}, {RECOMPUTE_BLOCK, 1}};
enum { POLICIES = sizeof policies / sizeof *policies };

static model_config config_of(int family) { return family == 0 ? tiny_gpt2() : tiny_llama(); }

static void open_model(model *m, const model_config *c, i64 B, i64 T, recompute_policy r, dtype t) {
    const model_shape s = {.B = B, .T = T, .recompute = r, .documents = true};
    OK(model_init(m, dev, c, s, tiny_options(t), NULL));
    OK(parameters_randomize(&m->parameters, 11));
}

/* the gradients of one micro-batch; the caller frees them */
static float *gradients_of(const model_config *c, token_batch b, recompute_policy r, dtype t, double *loss,
                           size_t *bytes) {
    model m;
    open_model(&m, c, b.B, b.T, r, t);
    OK(model_forward_backward(&m, loss, b, 1.0f / TINY_N, true, true));
    *bytes = (size_t)m.parameters.p.size * 4;
    float *g = malloc(*bytes);
    memcpy(g, m.parameters.grads, *bytes);
    model_free(&m);
    return g;
}

/* One row of two documents, and a row for each: the same sums in the same order, because masked keys add zeros. */
static void documents_in_a_row_are_rows_of_their_own(void **unused) {
    (void)unused;
    for (int family = 0; family < 2; family++)
        for (dtype t = F32; t <= BF16; t++)
            for (int window = 0; window <= 5; window += 5) {
                model_config c = config_of(family);
                c.window = window;
                int32_t tokens[TINY_N], targets[TINY_N], starts[TINY_N] = {0};
                double loss[3];
                size_t bytes;
                tiny_batch(tokens, targets, 5);
                for (i64 i = TINY_T; i < TINY_N; i++) starts[i] = TINY_T;
                const token_batch rows = tiny_batch_of(tokens, targets);
                const token_batch row = {.tokens = tokens, .targets = targets, .B = 1, .T = TINY_N, .starts = starts};
                const token_batch whole = {.tokens = tokens, .targets = targets, .B = 1, .T = TINY_N};
                float *a = gradients_of(&c, rows, policies[0], t, &loss[0], &bytes);
                float *b = gradients_of(&c, row, policies[0], t, &loss[1], &bytes);
                float *other = gradients_of(&c, whole, policies[0], t, &loss[2], &bytes);
                assert_true(loss[0] == loss[1]);
                assert_memory_equal(a, b, bytes);
                assert_true(loss[2] != loss[0]);
                assert_memory_not_equal(a, other, bytes);
                free(a), free(b), free(other);
            }
}

static void recompute_policies_give_the_same_bits(void **unused) {
    (void)unused;
    for (int family = 0; family < 2; family++) {
        model_config c = config_of(family);
        c.window = 6, c.full_layers[0] = 2;
        int32_t tokens[TINY_N], targets[TINY_N], *starts = starts_draw(TINY_B, TINY_T, 6);
        double loss[2];
        size_t bytes;
        tiny_batch(tokens, targets, 5);
        token_batch b = tiny_batch_of(tokens, targets);
        b.starts = starts;
        float *first = gradients_of(&c, b, policies[0], BF16, &loss[0], &bytes);
        for (int p = 1; p < POLICIES; p++) {
            float *g = gradients_of(&c, b, policies[p], BF16, &loss[1], &bytes);
            assert_true(loss[0] == loss[1]);
            assert_memory_equal(first, g, bytes);
            free(g);
        }
        free(first), free(starts);
    }
}

static void counters_equal_the_closed_form(void **unused) {
    (void)unused;
    for (int family = 0; family < 2; family++)
        for (int p = 0; p < POLICIES; p++)
            for (int documents = 0; documents < 2; documents++) {
                model_config c = config_of(family);
                model m;
                int32_t tokens[TINY_N], targets[TINY_N], *starts = starts_draw(TINY_B, TINY_T, 6);
                c.window = 5, c.full_layers[0] = 4;
                tiny_batch(tokens, targets, 5);
                token_batch b = tiny_batch_of(tokens, targets);
                flop_counter expected = cost_training_flops(&c, policies[p], TINY_B, TINY_T), before = dev->flops;
                if (documents) {
                    b.starts = starts;
                    flop_counter fewer = cost_batch_flops(&c, policies[p], b);
                    assert_true(meter_flops_model(&fewer) < meter_flops_model(&expected));
                    expected = fewer;
                }
                open_model(&m, &c, TINY_B, TINY_T, policies[p], BF16);
                OK(model_forward_backward(&m, NULL, b, 1, true, true));
                for (int k = 0; k < WORK_KINDS; k++)
                    assert_int_equal(dev->flops.work[k] - before.work[k], expected.work[k]);
                model_free(&m);
                free(starts);
            }
}

/* the losses of all positions of one row */
static void losses_of(float losses[TINY_T], const model_config *c, const int32_t *tokens, const int32_t *targets) {
    model m;
    double loss;
    open_model(&m, c, 1, TINY_T, policies[0], F32);
    OK(model_loss(&m, &loss, (token_batch){.tokens = tokens, .targets = targets, .B = 1, .T = TINY_T}));
    memcpy(losses, m.host_losses, TINY_T * 4);
    model_free(&m);
}

/* Two layers with a window of 4: a token reaches the next 3 in each of them. A layer without the window ends that. */
static void a_token_reaches_as_far_as_the_windows(void **unused) {
    (void)unused;
    for (int family = 0; family < 2; family++)
        for (int full = 0; full < 2; full++) {
            model_config c = config_of(family);
            c.L = 2, c.window = 4, c.full_layers[0] = full ? 2 : 0;
            int32_t tokens[TINY_N], targets[TINY_N];
            float before[TINY_T], after[TINY_T];
            tiny_batch(tokens, targets, 5);
            losses_of(before, &c, tokens, targets);
            tokens[1] = (tokens[1] + 1) % TINY_V;
            losses_of(after, &c, tokens, targets);
            i64 last = full ? TINY_T - 1 : 1 + 2 * 3;
            for (i64 i = 0; i < TINY_T; i++) assert_int_equal(before[i] != after[i], i >= 1 && i <= last);
        }
}

static void bad_starts_are_refused(void **unused) {
    (void)unused;
    model_config c = tiny_llama();
    model m;
    double loss;
    int32_t tokens[TINY_N], targets[TINY_N], starts[TINY_N] = {0};
    tiny_batch(tokens, targets, 5);
    token_batch b = tiny_batch_of(tokens, targets);
    b.starts = starts;
    tiny_open(&m, dev, &c, policies[0], tiny_options(F32));
    FAILS(ARG, "opened without documents", model_loss(&m, &loss, b));
    model_free(&m);
    open_model(&m, &c, TINY_B, TINY_T, policies[0], F32);
    starts[5] = 5, starts[6] = 0;
    FAILS(DATA, "start 0 at 6 of the batch, expected 6 or that of the token before it", model_loss(&m, &loss, b));
    starts[5] = 6;
    FAILS(DATA, "start 6 at 5 of the batch, expected 5", model_loss(&m, &loss, b));
    starts[5] = 0, starts[TINY_T] = -1;
    FAILS(DATA, "start -1 at 16 of the batch, expected 0", model_loss(&m, &loss, b));
    model_free(&m);
}

static void planned_memory_is_what_is_taken(void **unused) {
    (void)unused;
    model_config c = tiny_gpt2();
    model m;
    size_t planned[MEM_CATEGORIES];
    const model_shape s = {.B = TINY_B, .T = TINY_T, .recompute = policies[0], .documents = true};
    OK(model_plan(planned, dev, &c, s, tiny_options(BF16), NULL));
    open_model(&m, &c, TINY_B, TINY_T, policies[0], BF16);
    assert_memory_equal(planned, m.memory.bytes, sizeof planned);
    model_free(&m);
}

int main(void) {
    OK(device_open(&dev, "cpu", 2, 0));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_in_a_row_are_rows_of_their_own),
        cmocka_unit_test(recompute_policies_give_the_same_bits),
        cmocka_unit_test(counters_equal_the_closed_form),
        cmocka_unit_test(a_token_reaches_as_far_as_the_windows),
        cmocka_unit_test(bad_starts_are_refused),
        cmocka_unit_test(planned_memory_is_what_is_taken),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(dev);
    return failed;
}
