/* Against Hugging Face transformers on PyTorch: tests/reference/README.md says how the values were made. */
#include <unistd.h>

#include "runtime/gemm.h"
#include "tests/check.h"
#include "train/checkpoint/hf.h"
#include "train/checkpoint/safetensors.h"
#include "train/checkpoint/weights.h"
#include "train/sampler.h"
#include "train/step.h"

static device *dev;
static comm *world;
enum { B = 2, T = 16, N = B * T, STEPS = 10 };

static const char *const names[] = {
    "gpt2-tiny",         "llama-tiny-tied", "llama-tiny-untied", "qwen2-tiny",          "qwen3-tiny",
    "llama-tiny-biases", "mistral-tiny",    "qwen3-tiny-window", "gpt2-tiny-documents", "mistral-tiny-documents"};
enum { MODELS = sizeof names / sizeof *names };

typedef struct {
    safetensors f;
    model_config c;
} reference;

static void open_reference(reference *r, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "tests/reference/%s.safetensors", name);
    OK(safetensors_open(&r->f, path));
    snprintf(path, sizeof path, "tests/reference/%s.json", name);
    OK(model_config_load(&r->c, path));
}

/* a tensor as f32; n is what its size must be */
static void fetch(float *x, const reference *r, const char *name, i64 n) {
    const safetensor *t = safetensors_find(&r->f, name);
    if (!t) fail_msg("%s: no %s", r->f.path, name);
    assert_int_equal(t->bytes, n * (i64)dtype_bytes(t->type));
    widen(x, safetensors_data(&r->f, t), t->type, n);
}

/* all pieces of a parameter in our layout: [rows,cols] */
static void fetch_param(float *x, const reference *r, const char *prefix, const param *p) {
    hf_piece pieces[3];
    int count = hf_pieces(pieces, &r->c, p);
    float *piece = malloc((size_t)(p->rows * p->cols) * 4);
    for (int i = 0; i < count; i++) {
        char name[160];
        i64 width = p->rows == 1 ? 1 : p->cols, rows = pieces[i].rows;
        float *to = x + pieces[i].first_row * width;
        snprintf(name, sizeof name, "%s.%s", prefix, pieces[i].name);
        fetch(piece, r, name, rows * width);
        for (i64 row = 0; row < rows; row++)
            for (i64 col = 0; col < width; col++)
                to[row * width + col] = pieces[i].transposed ? piece[col * rows + row] : piece[row * width + col];
    }
    free(piece);
}

static void fetch_all(float *x, const reference *r, const char *prefix, const parameters *s) {
    memset(x, 0, (size_t)s->p.size * 4);
    for (int i = 0; i < s->p.count; i++) fetch_param(x + s->p.list[i].offset, r, prefix, &s->p.list[i]);
}

static void fetch_tokens(int32_t *x, const reference *r, const char *name) {
    float values[STEPS * N];
    fetch(values, r, name, STEPS * N);
    for (int i = 0; i < STEPS * N; i++) x[i] = (int32_t)values[i];
}

static bool has_documents(const reference *r) { return safetensors_find(&r->f, "starts"); }

typedef struct {
    int32_t tokens[STEPS * N], targets[STEPS * N], starts[STEPS * N];
    bool documents;
} batches;

static void fetch_batches(batches *x, const reference *r) {
    fetch_tokens(x->tokens, r, "tokens");
    fetch_tokens(x->targets, r, "targets");
    x->documents = has_documents(r);
    if (x->documents) fetch_tokens(x->starts, r, "starts");
}

static token_batch batch_of_step(const batches *x, int step) {
    return (token_batch){.tokens = x->tokens + step * N,
                         .targets = x->targets + step * N,
                         .B = B,
                         .T = T,
                         .starts = x->documents ? x->starts + step * N : NULL};
}

static void load_weights(model *m, const reference *r) {
    parameters *s = &m->parameters;
    size_t n = (size_t)s->p.size;
    float *w = malloc(n * 4);
    bf16 *rounded = malloc(n * 2);
    fetch_all(w, r, "weights", s);
    for (size_t i = 0; i < n; i++) rounded[i] = bf16_from_f32(w[i]);
    const void *weights = s->o.t == F32 ? (void *)w : rounded;
    OK(dev->ops->copy(dev, s->weights, weights, n * dtype_bytes(s->o.t)));
    if (s->master) OK(dev->ops->copy(dev, s->master, w, n * 4));
    gemm_weights_changed(dev);
    free(rounded);
    free(w);
}

/* a copy on the host, which the caller frees */
static float *on_host(const void *from, i64 n) {
    float *x = malloc((size_t)n * 4);
    OK(dev->ops->copy(dev, x, from, (size_t)n * 4));
    return x;
}

static void open_model(step_state *steps, model *m, const reference *r, dtype t) {
    parameters_options o = {.t = t, .master = true, .moments = F32, .training = true, .shard = {.world = world}};
    const model_shape s = {.B = B, .T = T, .recompute = {RECOMPUTE_NONE, 0}, .documents = has_documents(r)};
    OK(step_init(steps, m, dev, &r->c, s, o));
    load_weights(m, r);
}

static double distance(const float *a, const float *b, i64 n) {
    double d = 0, s = 0;
    for (i64 i = 0; i < n; i++) d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]), s += (double)b[i] * b[i];
    return sqrt(d / s);
}

/* GPT-2's bias of k has a gradient of zero but for rounding, which Adam then scales up: not comparable */
static void without_key_bias(const reference *r, const param *p, float *a, float *b) {
    if (p->kind != P_QKV_B || r->c.arch != ARCH_GPT2) return;
    i64 q = r->c.H * r->c.D, k = r->c.K * r->c.D;
    memset(a + q, 0, (size_t)k * 4);
    memset(b + q, 0, (size_t)k * 4);
}

/* fp32: the loss within 1e-5 relative, every gradient within 1e-4 by norm. Both sides round some 50 times on the way
 * (two layers, sums of up to 61 and 32 terms): 50 * 2^-24 = 3e-6 each. */
static void fp32_gradients(void **unused) {
    (void)unused;
    for (int i = 0; i < MODELS; i++) {
        reference r;
        model m;
        step_state steps;
        batches text;
        float expected_loss;
        double loss;
        open_reference(&r, names[i]);
        open_model(&steps, &m, &r, F32);
        fetch_batches(&text, &r);
        fetch(&expected_loss, &r, "loss", 1);
        OK(model_forward_backward(&m, &loss, batch_of_step(&text, 0), 1.0f / N, true, true));
        if (fabs(loss / N - expected_loss) > 1e-5 * expected_loss)
            fail_msg("%s: loss %.8g, expected %.8g", names[i], loss / N, expected_loss);
        float *expected = malloc((size_t)m.parameters.p.size * 4),
              *grads = on_host(m.parameters.grads, m.parameters.p.size);
        fetch_all(expected, &r, "grad", &m.parameters);
        for (int j = 0; j < m.parameters.p.count; j++) {
            const param *p = &m.parameters.p.list[j];
            float *ours = grads + p->offset, *theirs = expected + p->offset;
            without_key_bias(&r, p, ours, theirs);
            double d = distance(ours, theirs, p->rows * p->cols);
            if (!(d <= 1e-4)) fail_msg("%s: gradient of %s is %.3g away", names[i], param_table_name(p).text, d);
        }
        free(grads);
        free(expected);
        model_free(&m);
        safetensors_close(&r.f);
    }
}

/* Ten steps on ten batches. The losses within 1e-5 as above; the norms within 1e-4 as the gradients; the weights within
 * what ten updates of lr = 1e-3 can differ by when m/sqrt(v) differs by the gradients' 1e-4 relative: 10 * 1e-3 * 1e-4
 * = 1e-6 an element, against weights whose root mean square is about 0.1: 1e-5 relative, and ten times that for the few
 * elements whose gradient is small against its own rounding. */
static void fp32_ten_steps(void **unused) {
    (void)unused;
    for (int i = 0; i < MODELS; i++) {
        reference r;
        model m;
        step_state steps;
        batches text;
        float losses[STEPS], norms[STEPS];
        open_reference(&r, names[i]);
        open_model(&steps, &m, &r, F32);
        fetch_batches(&text, &r);
        fetch(losses, &r, "losses", STEPS);
        fetch(norms, &r, "grad_norms", STEPS);
        step_args a = {
            .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .micro_batches = 1};
        for (int step = 0; step < STEPS; step++) {
            double nats;
            OK(model_forward_backward(&m, &nats, batch_of_step(&text, step), 1.0f / N, true, true));
            step_result result;
            OK(step_update_weights(&steps, &a));
            OK(step_collect(&steps, &result));
            if (fabs(result.loss - losses[step]) > 1e-5 * losses[step])
                fail_msg("%s step %d: loss %.8g, expected %.8g", names[i], step, result.loss, losses[step]);
            if (fabs(result.grad_norm - norms[step]) > 1e-4 * norms[step])
                fail_msg("%s step %d: norm %.8g, expected %.8g", names[i], step, result.grad_norm, norms[step]);
        }
        float *expected = malloc((size_t)m.parameters.p.size * 4),
              *weights = on_host(m.parameters.weights, m.parameters.p.size);
        fetch_all(expected, &r, "final", &m.parameters);
        for (int j = 0; j < m.parameters.p.count; j++) {
            const param *p = &m.parameters.p.list[j];
            float *ours = weights + p->offset, *theirs = expected + p->offset;
            without_key_bias(&r, p, ours, theirs);
            double d = distance(ours, theirs, p->rows * p->cols);
            if (!(d <= 1e-4)) fail_msg("%s: %s is %.3g away after ten steps", names[i], param_table_name(p).text, d);
        }
        free(weights);
        free(expected);
        model_free(&m);
        safetensors_close(&r.f);
    }
}

/* bf16: our gradients may lie as far from fp32's as PyTorch's own bf16 gradients do, times 1.5 for different places of
 * rounding; that over all parameters together, which averages the rounding of single tensors out. Losses: a token's
 * logits, of up to 4, carry two roundings of 2^-8: 0.03 nats, in the mean of 32 tokens 0.03/sqrt(32) = 5.5e-3; twice that,
 * as the weights of ten steps are rounded too. */
static void bf16_is_as_close_as_pytorch(void **unused) {
    (void)unused;
    for (int i = 0; i < MODELS; i++) {
        reference r;
        model m;
        step_state steps;
        batches text;
        float losses[STEPS];
        open_reference(&r, names[i]);
        open_model(&steps, &m, &r, BF16);
        fetch_batches(&text, &r);
        fetch(losses, &r, "losses", STEPS);
        i64 n = m.parameters.p.size;
        float *exact = malloc((size_t)n * 4), *peer = malloc((size_t)n * 4);
        fetch_all(exact, &r, "grad", &m.parameters);
        fetch_all(peer, &r, "grad_bf16", &m.parameters);
        step_args a = {
            .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .micro_batches = 1};
        for (int step = 0; step < STEPS; step++) {
            double nats;
            OK(model_forward_backward(&m, &nats, batch_of_step(&text, step), 1.0f / N, true, true));
            if (step == 0) {
                float *grads = on_host(m.parameters.grads, n);
                double ours = distance(grads, exact, n), theirs = distance(peer, exact, n);
                free(grads);
                if (!(ours <= 1.5 * theirs))
                    fail_msg("%s: bf16 gradients are %.3g from fp32's, PyTorch's are %.3g", names[i], ours, theirs);
            }
            step_result result;
            OK(step_update_weights(&steps, &a));
            OK(step_collect(&steps, &result));
            if (fabs(result.loss - losses[step]) > 1.1e-2)
                fail_msg("%s step %d: loss %.6g, fp32's is %.6g", names[i], step, result.loss, losses[step]);
        }
        free(exact);
        free(peer);
        model_free(&m);
        safetensors_close(&r.f);
    }
}

/* Token by token through the key/value cache, and in one prompt, the logits are Hugging Face's: fp32, as above. */
static void generation_logits(void **unused) {
    (void)unused;
    char folder[] = "/tmp/tally-reference-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    for (int i = 0; i < MODELS; i++) {
        reference r;
        model m;
        step_state steps;
        blockfile_sums sums;
        int32_t tokens[STEPS * N], next;
        open_reference(&r, names[i]);
        if (has_documents(&r)) { /* a text that is generated is one document */
            safetensors_close(&r.f);
            continue;
        }
        open_model(&steps, &m, &r, F32);
        fetch_tokens(tokens, &r, "tokens");
        i64 V = r.c.V;
        float *logits = malloc((size_t)(N * V) * 4);
        fetch(logits, &r, "logits", N * V);
        OK(weights_write(&m.parameters, &r.c, folder, &sums));
        free(sums.crc);
        for (int prompt = 1; prompt <= T; prompt += 5) {
            sampler *s;
            sampling greedy = {0};
            OK(sampler_open(&s, dev, &r.c, path, F32, T, 1));
            OK(sampler_next(s, 0, &next, tokens, prompt, &greedy));
            for (int t = prompt - 1; t < T; t++) {
                if (t >= prompt) OK(sampler_next(s, 0, &next, tokens + t, 1, &greedy));
                double d = distance(sampler_logits(s), logits + t * V, V);
                if (!(d <= 1e-4)) fail_msg("%s: logits at %d are %.3g away (prompt of %d)", names[i], t, d, prompt);
            }
            sampler_close(s);
        }
        free(logits);
        model_free(&m);
        safetensors_close(&r.f);
    }
    unlink(path);
    rmdir(folder);
}

/* test_cuda_reference.c has the same on CUDA */
#ifndef REFERENCE_DEVICE
#define REFERENCE_DEVICE "cpu"
#endif

int main(void) {
    status_code st = device_open(&dev, REFERENCE_DEVICE, 2, 0);
    if (st && strcmp(REFERENCE_DEVICE, "cuda") == 0) {
        printf("1..1\nok 1 - the references # SKIP %s\n", status_message());
        return 0;
    }
    OK(st);
    OK(comm_open_self(&world));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp32_gradients),
        cmocka_unit_test(fp32_ten_steps),
        cmocka_unit_test(bf16_is_as_close_as_pytorch),
        cmocka_unit_test(generation_logits),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_close(world);
    device_close(dev);
    return failed;
}
