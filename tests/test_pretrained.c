/* Models of Hugging Face, one of them trained, against what transformers computes of them: ../shared/data/models, whose README
 * says how the values beside each were made. */
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/path.h"
#include "tests/check.h"
#include "train/checkpoint/hf.h"
#include "train/checkpoint/weights.h"
#include "train/sampler.h"

static const char folder[] = "../shared/data/models";
static device *dev;
static comm *world;

typedef struct {
    path_text path;
    model_config c;
    json_t *expected;
    int32_t ids[256]; /* [rows,count] */
    i64 rows, count;
} pretrained;

static void open_pretrained(pretrained *p, const char *name) {
    *p = (pretrained){.path = path_join(folder, name)};
    OK(model_config_load(&p->c, p->path.text));
    OK(json_read_file(&p->expected, path_join(p->path.text, "expected.json").text));
    json_t *ids, *id;
    size_t i;
    OK(json_get_array(p->expected, name, "ids", &ids));
    bool batch = json_is_array(json_array_get(ids, 0));
    p->rows = batch ? (i64)json_array_size(ids) : 1;
    p->count = (i64)json_array_size(batch ? json_array_get(ids, 0) : ids);
    assert_true(p->rows * p->count <= 256);
    for (i64 row = 0; row < p->rows; row++)
        json_array_foreach(batch ? json_array_get(ids, (size_t)row) : ids, i, id) p->ids[row * p->count + (i64)i] =
            (int32_t)json_number_or_nan(id);
}

static double number(const pretrained *p, const char *key) {
    double v;
    OK(json_get_double(p->expected, p->path.text, key, &v));
    return v;
}

/* Logits of the first row's last position: fp32 on both sides, some 50 roundings of 2^-24 each on the way; the file has 7 decimals. */
static void check_logits(const pretrained *p) {
    json_t *list;
    sampler *s;
    int32_t next;
    OK(json_get_array(p->expected, p->path.text, "logits_last_position", &list));
    if (json_is_array(json_array_get(list, 0))) list = json_array_get(list, 0);
    assert_int_equal(json_array_size(list), p->c.V);
    OK(sampler_open(&s, dev, &p->c, p->path.text, F32, p->count, 1));
    OK(sampler_next(s, 0, &next, p->ids, p->count, &(sampling){.temperature = 0, .top_p = 1}));
    double d = 0, sum = 0;
    for (i64 v = 0; v < p->c.V; v++) {
        double theirs = json_number_or_nan(json_array_get(list, (size_t)v)), ours = sampler_logits(s)[v];
        d += (ours - theirs) * (ours - theirs), sum += theirs * theirs;
    }
    if (!(d <= 1e-10 * sum)) fail_msg("%s: logits are %.3g away", p->path.text, sqrt(d / sum));
    sampler_close(s);
}

/* the norm and the sum of the gradient of each of Hugging Face's tensors */
static void check_gradients(const pretrained *p, const model *m) {
    const json_t *list = json_object_get(p->expected, "grad_norm_and_sum");
    double all = 0;
    for (int i = 0; i < m->parameters.p.count; i++) {
        const param *q = &m->parameters.p.list[i];
        hf_piece pieces[3];
        int n = hf_pieces(pieces, &p->c, q);
        for (int j = 0; j < n; j++) {
            i64 width = q->rows == 1 ? 1 : q->cols, first = q->offset + pieces[j].first_row * width;
            double norm = 0, sum = 0;
            for (i64 k = first; k < first + pieces[j].rows * width; k++) {
                double g = m->parameters.grads[k];
                norm += g * g, sum += g;
            }
            all += norm;
            const json_t *pair = json_object_get(list, pieces[j].name);
            if (list && !pair) fail_msg("%s: no gradient of %s", p->path.text, pieces[j].name);
            if (!list) continue;
            double their_norm = json_number_or_nan(json_array_get(pair, 0)),
                   their_sum = json_number_or_nan(json_array_get(pair, 1));
            double elements = sqrt((double)(pieces[j].rows * width)), tolerance = 1e-4 * their_norm;
            if (!(fabs(sqrt(norm) - their_norm) <= tolerance && fabs(sum - their_sum) <= tolerance * elements))
                fail_msg("%s: gradient of %s has norm %.7g and sum %.7g, expected %.7g and %.7g", p->path.text,
                         pieces[j].name, sqrt(norm), sum, their_norm, their_sum);
        }
    }
    double theirs = number(p, "grad_norm_all_parameters");
    if (!(fabs(sqrt(all) - theirs) <= 1e-5 * theirs))
        fail_msg("%s: gradient norm %.8g, expected %.8g", p->path.text, sqrt(all), theirs);
}

static void check_loss_and_gradients(const pretrained *p) {
    model m;
    double loss, theirs = number(p, "loss_mean_over_next_tokens");
    i64 T = p->count - 1, N = p->rows * T;
    int32_t tokens[256], targets[256];
    for (i64 n = 0; n < N; n++) {
        const int32_t *id = &p->ids[n / T * p->count + n % T];
        tokens[n] = id[0], targets[n] = id[1];
    }
    parameters_options o = {.t = F32, .training = true, .shard = {.world = world}};
    OK(model_init(&m, dev, &p->c, (model_shape){.B = p->rows, .T = T}, o, NULL));
    OK(weights_read(&m.parameters, &p->c, p->path.text));
    token_batch b = {.tokens = tokens, .targets = targets, .B = p->rows, .T = T};
    OK(model_forward_backward(&m, &loss, b, 1.0f / (float)N, true, true));
    if (!(fabs(loss / (double)N - theirs) <= 1e-5 * theirs))
        fail_msg("%s: loss %.8g, expected %.8g", p->path.text, loss / (double)N, theirs);
    check_gradients(p, &m);
    model_free(&m);
}

static void check(void **state) {
    const char *name = *state;
    pretrained p;
    if (access(folder, F_OK)) skip();
    open_pretrained(&p, name);
    check_logits(&p);
    check_loss_and_gradients(&p);
    json_decref(p.expected);
}

/* the trained model tells its story: the most likely token each time is transformers' */
static void stories_are_told(void **state) {
    (void)state;
    pretrained p;
    sampler *s;
    json_t *prompt, *greedy;
    if (access(folder, F_OK)) skip();
    open_pretrained(&p, "stories260K");
    OK(json_get_array(p.expected, p.path.text, "greedy_prompt_ids", &prompt));
    OK(json_get_array(p.expected, p.path.text, "greedy_ids", &greedy));
    size_t given = json_array_size(prompt), all = json_array_size(greedy);
    OK(sampler_open(&s, dev, &p.c, p.path.text, F32, (i64)all, 1));
    for (size_t i = 0; i + 1 < all; i++) {
        int32_t token = (int32_t)json_number_or_nan(json_array_get(greedy, i)), next;
        OK(sampler_next(s, 0, &next, &token, 1, &(sampling){.temperature = 0, .top_p = 1}));
        if (i + 1 >= given) assert_int_equal(next, (int)json_number_or_nan(json_array_get(greedy, i + 1)));
    }
    sampler_close(s);
    json_decref(p.expected);
}

/* for tests/test_families.sh: the logits at each position of `ids`, within 1e-5 of those in the file by norm */
static int compare(const char *path, const char *values) {
    model_config c;
    safetensors f;
    sampler *s;
    OK(model_config_load(&c, path));
    OK(safetensors_open(&f, values));
    const safetensor *ids = safetensors_find(&f, "ids"), *logits = safetensors_find(&f, "logits");
    double d = 0, sum = 0;
    OK(sampler_open(&s, dev, &c, path, F32, ids->shape[0], 1));
    for (i64 t = 0; t < ids->shape[0]; t++) {
        float id, theirs;
        int32_t next;
        safetensors_widen(&id, &f, ids, t, 1);
        OK(sampler_next(s, 0, &next, &(int32_t){(int32_t)id}, 1, &(sampling){.temperature = 0, .top_p = 1}));
        for (i64 v = 0; v < c.V; v++) {
            safetensors_widen(&theirs, &f, logits, t * c.V + v, 1);
            double difference = (double)sampler_logits(s)[v] - theirs;
            d += difference * difference, sum += (double)theirs * theirs;
        }
    }
    if (!(d <= 1e-10 * sum)) fprintf(stderr, "%s: logits are %.3g away\n", path, sqrt(d / sum));
    sampler_close(s);
    safetensors_close(&f);
    return !(d <= 1e-10 * sum);
}

int main(int argc, char **argv) {
    OK(device_open(&dev, "cpu", 2, 0));
    if (argc == 3) return compare(argv[1], argv[2]);
    OK(comm_open_self(&world));
#define MODEL(folder_name)                                                                                             \
    { .name = folder_name, .test_func = check, .initial_state = (void *)folder_name }
    const struct CMUnitTest tests[] = {
        MODEL("tiny-random-gpt2"),       MODEL("tiny-random-llama31"), MODEL("tiny-random-qwen2"),
        MODEL("tiny-random-qwen3-bf16"), MODEL("stories260K"),         cmocka_unit_test(stories_are_told),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_close(world);
    device_close(dev);
    return failed;
}
