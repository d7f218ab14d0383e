#include "train/model/model_config.h"

#include "runtime/json.h"
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "runtime/log.h"
#include "runtime/nearest.h"
#include "runtime/path.h"
#include "train/model/model_keys.h"
#include "train/model/presets.h"
#include "train/model/rope_keys.h"
#include "train/model/window_keys.h"

static const double most_parameters = 1e15; /* far above any model, and below 2^53: doubles are exact */

/* Hugging Face's keys of the sizes, for GPT-2 and for the other families. GPT-2 has no key for K or D. */
static const struct {
    size_t offset;
    const char *gpt2, *llama;
    i64 most;
} sizes[] = {
    {offsetof(model_config, L), "n_layer", "num_hidden_layers", 100000},
    {offsetof(model_config, C), "n_embd", "hidden_size", INT32_MAX},
    {offsetof(model_config, H), "n_head", "num_attention_heads", INT32_MAX},
    {offsetof(model_config, K), NULL, "num_key_value_heads", INT32_MAX},
    {offsetof(model_config, D), NULL, "head_dim", INT32_MAX},
    {offsetof(model_config, F), "n_inner", "intermediate_size", INT32_MAX},
    {offsetof(model_config, V), "vocab_size", "vocab_size", INT32_MAX},
    {offsetof(model_config, context), "n_positions", "max_position_embeddings", INT32_MAX},
};
enum { SIZES = sizeof sizes / sizeof *sizes };

static const struct {
    const char *model_type, *class_name;
    architecture arch;
} types[] = {
    {"gpt2", "GPT2LMHeadModel", ARCH_GPT2},          {"llama", "LlamaForCausalLM", ARCH_LLAMA},
    {"qwen2", "Qwen2ForCausalLM", ARCH_QWEN2},       {"qwen3", "Qwen3ForCausalLM", ARCH_QWEN3},
    {"mistral", "MistralForCausalLM", ARCH_MISTRAL},
};
enum { TYPES = sizeof types / sizeof *types };

static i64 *size_of(model_config *c, int i) { return (i64 *)((char *)c + sizes[i].offset); }
static const char *key_of(const model_config *c, int i) {
    return c->arch == ARCH_GPT2 && sizes[i].gpt2 ? sizes[i].gpt2 : sizes[i].llama;
}

/* In double: exact up to 2^53, and no overflow whatever sizes a file holds. */
static double count_parameters(const model_config *c) {
    double C = (double)c->C, F = (double)c->F, V = (double)c->V, D = (double)c->D;
    double q = (double)c->H * D, k = (double)c->K * D, up = c->swiglu ? 2 * F : F;
    double norm = c->layer_norm ? 2 * C : C;
    double block = 2 * norm + (q + 2 * k) * C + C * q + up * C + C * F;
    if (c->qkv_bias) block += q + 2 * k;
    if (c->attn_bias) block += C;
    if (c->mlp_bias) block += up + C;
    if (c->qk_norm) block += 2 * D;
    double ends = V * C + norm;
    if (c->learned_positions) ends += (double)c->context * C;
    if (!c->tied) ends += V * C;
    return (double)c->L * block + ends;
}

i64 model_config_parameters(const model_config *c) { return (i64)count_parameters(c); }

i64 model_config_window(const model_config *c, i64 layer) {
    bool full = layer < MODEL_CONFIG_LISTED && c->full_layers[layer / 64] >> layer % 64 & 1;
    return full ? 0 : c->window;
}

/* where: the file, or the model's name */
static status check(const model_config *c, const char *where) {
    for (int i = 0; i < SIZES; i++) {
        i64 value = *size_of((model_config *)c, i);
        if (value < 1 || value > sizes[i].most)
            FAIL(DATA, "%s: key \"%s\" is %ld, expected a whole number from 1 to %ld", where, key_of(c, i), value,
                 sizes[i].most);
    }
    if (c->H % c->K)
        FAIL(DATA, "%s: key \"num_attention_heads\" is %ld, expected a multiple of num_key_value_heads %ld", where,
             c->H, c->K);
    if (c->arch == ARCH_GPT2 && (c->K != c->H || c->H * c->D != c->C))
        FAIL(DATA, "%s: key \"n_embd\" is %ld, expected n_head x head size = %ld x %ld, a key/value head each", where,
             c->C, c->H, c->D);
    if (!c->learned_positions && c->D % 2)
        FAIL(DATA, "%s: key \"head_dim\" is %ld, expected an even number", where, c->D);
    if (!c->learned_positions) TRY(rope_keys_check(&c->rope, where));
    if (!(c->norm_eps > 0 && c->norm_eps < 1))
        FAIL(DATA, "%s: key \"%s\" is %g, expected a number between 0 and 1", where,
             c->arch == ARCH_GPT2 ? "layer_norm_epsilon" : "rms_norm_eps", (double)c->norm_eps);
    if (!(c->init_std > 0 && c->init_std <= 1))
        FAIL(DATA, "%s: key \"initializer_range\" is %g, expected a number above 0, at most 1", where, c->init_std);
    double parameters = count_parameters(c);
    if (parameters > most_parameters)
        FAIL(DATA, "%s: the sizes give %.3g parameters, expected at most %.0e", where, parameters, most_parameters);
    return STATUS_OK;
}

status model_config_check(const model_config *c) { return check(c, c->name); }

/* ---- reading ---- */

static bool absent(const json_t *item) { return !item || json_is_null(item); }

/* 0 where an optional key is absent. model_config_check checks the range. */
static status read_size(i64 *value, const json_t *json, const char *path, const char *key, i64 most, bool required) {
    const json_t *item = json_object_get(json, key);
    *value = 0;
    if (!required && absent(item)) return STATUS_OK;
    double v = json_number_or_nan(item);
    if (!(v >= 1 && v <= (double)most) || v != floor(v))
        FAIL(DATA, "%s: key \"%s\" is %s, expected a whole number from 1 to %ld", path, key, model_keys_show(item).text,
             most);
    *value = (i64)v;
    return STATUS_OK;
}

/* An optional key that is absent leaves *value as it is. */
static status read_number(double *value, const json_t *json, const char *path, const char *key, bool required) {
    const json_t *item = json_object_get(json, key);
    if (!required && absent(item)) return STATUS_OK;
    double v = json_number_or_nan(item);
    if (isnan(v)) FAIL(DATA, "%s: key \"%s\" is %s, expected a number", path, key, model_keys_show(item).text);
    *value = v;
    return STATUS_OK;
}

static status read_type(int *type, const json_t *json, const char *path) {
    const json_t *item = json_object_get(json, "model_type");
    const char *name = json_string_or_null(item);
    for (int i = 0; i < TYPES; i++) {
        if (!name || strcmp(name, types[i].model_type)) continue;
        *type = i;
        return STATUS_OK;
    }
    FAIL(DATA, "%s: key \"model_type\" is %s, expected \"gpt2\", \"llama\", \"mistral\", \"qwen2\" or \"qwen3\"", path,
         model_keys_show(item).text);
}

/* GPT-2: F is 4C where not given. The others: heads of their own for keys and values, and a head size that is not C/H,
 * may be left out where the family's default is what follows from the other sizes. */
static status read_sizes(model_config *c, const json_t *json, const char *path, const char *model_type) {
    bool gpt2 = c->arch == ARCH_GPT2, llama = strcmp(model_type, "llama") == 0;
    for (int i = 0; i < SIZES; i++) {
        if (gpt2 && !sizes[i].gpt2) continue;
        i64 *value = size_of(c, i);
        bool required = value == &c->F   ? !gpt2
                        : value == &c->K ? !llama
                        : value == &c->D ? c->arch == ARCH_QWEN3
                                         : true;
        TRY(read_size(value, json, path, key_of(c, i), sizes[i].most, required));
    }
    if (!c->F) c->F = 4 * c->C;
    if (!c->K) c->K = c->H;
    if (!c->D && c->C % c->H)
        FAIL(DATA, "%s: key \"%s\" is %ld, expected a multiple of %ld heads", path, gpt2 ? "n_embd" : "hidden_size",
             c->C, c->H);
    if (!c->D) c->D = c->C / c->H;
    return STATUS_OK;
}

/* GPT-2's sizes under the other families' names, which transformers reads for the same */
static status check_aliases(const model_config *c, const json_t *json, const char *path) {
    for (int i = 0; c->arch == ARCH_GPT2 && i < SIZES; i++) {
        const i64 *value = size_of((model_config *)c, i);
        const json_t *item = json_object_get(json, sizes[i].llama);
        if (absent(item) || !sizes[i].gpt2 || value == &c->F) continue;
        if (json_number_or_nan(item) != (double)*value)
            FAIL(DATA, "%s: key \"%s\" is %s beside \"%s\" %ld; expected the same", path, sizes[i].llama,
                 model_keys_show(item).text, sizes[i].gpt2, *value);
    }
    return STATUS_OK;
}

static bool is_size(const keys_of *of, const char *key) {
    for (int i = 0; i < SIZES; i++) {
        bool alias = of->gpt2 && sizes[i].gpt2 && sizes[i].offset != offsetof(model_config, F);
        if (of->gpt2 && sizes[i].gpt2 && !strcmp(key, sizes[i].gpt2)) return true;
        if ((!of->gpt2 || alias) && !strcmp(key, sizes[i].llama)) return true;
    }
    return false;
}

/* An optional key that is absent leaves *value as it is. */
static status read_bool(bool *value, const json_t *json, const char *path, const char *key) {
    const json_t *item = json_object_get(json, key);
    if (item && !json_is_boolean(item))
        FAIL(DATA, "%s: key \"%s\" is %s, expected true or false", path, key, model_keys_show(item).text);
    if (item) *value = json_is_true(item);
    return STATUS_OK;
}

/* Biases: in transformers, Llama and Qwen3 have the key "attention_bias" for q, k, v and o, and Llama "mlp_bias". Qwen2 always
 * has biases of q, k and v alone, Mistral none. */
static status read_llama(model_config *c, json_t *json, const char *path) {
    TRY(rope_keys_read(&c->rope, json, path, c->context));
    TRY(window_keys_read(c, json, path));
    bool attention = false, mlp = false;
    TRY(read_bool(&attention, json, path, "attention_bias"));
    TRY(read_bool(&mlp, json, path, "mlp_bias"));
    if (attention && c->arch != ARCH_LLAMA && c->arch != ARCH_QWEN3)
        FAIL(DATA, "%s: key \"attention_bias\" is true, expected false for this model_type", path);
    if (mlp && c->arch != ARCH_LLAMA)
        FAIL(DATA, "%s: key \"mlp_bias\" is true, expected false for this model_type", path);
    if (attention) c->qkv_bias = c->attn_bias = true;
    if (mlp) c->mlp_bias = true;
    return STATUS_OK;
}

status model_config_from_json(model_config *c, json_t *json, const char *path) {
    if (!json_is_object(json)) FAIL(DATA, "%s: found %s, expected a JSON object", path, model_keys_show(json).text);
    int type = 0;
    TRY(read_type(&type, json, path));
    *c = (model_config){.init_std = 0.02};
    size_t length = strlen(path), skip = length < sizeof c->name ? 0 : length - sizeof c->name + 1;
    snprintf(c->name, sizeof c->name, "%s", path + skip);
    presets_apply_architecture(c, types[type].arch);
    keys_of keys = {.path = path, .model_type = types[type].model_type, .gpt2 = c->arch == ARCH_GPT2};
    TRY(read_sizes(c, json, path, types[type].model_type));
    TRY(check_aliases(c, json, path));
    TRY(model_keys_check(json, &keys));
    if (c->arch != ARCH_GPT2) TRY(read_llama(c, json, path));
    model_keys_dropout(c->dropout, sizeof c->dropout, json);
    model_keys_unknown(c->unknown, sizeof c->unknown, json, &keys, is_size);
    double eps = 1e-5;
    if (c->arch == ARCH_GPT2) TRY(read_number(&eps, json, path, "layer_norm_epsilon", false));
    else TRY(read_number(&eps, json, path, "rms_norm_eps", true));
    c->norm_eps = (float)eps;
    TRY(read_number(&c->init_std, json, path, "initializer_range", false));
    c->tied = c->arch == ARCH_GPT2; /* the default of transformers for each family */
    TRY(read_bool(&c->tied, json, path, "tie_word_embeddings"));
    return check(c, path);
}

enum { LARGEST_CONFIG = 1 << 20 };

static status load_file(model_config *c, const char *path) {
    json_t *json;
    TRY(json_read_file_up_to(LARGEST_CONFIG, &json, path));
    status_code st = model_config_from_json(c, json, path);
    json_decref(json);
    return st;
}

status model_config_load(model_config *c, const char *name_or_path) {
    for (int i = 0; i < presets_count(); i++) {
        if (strcmp(name_or_path, presets_name(i))) continue;
        presets_get(c, i);
        return STATUS_OK;
    }
    struct stat about;
    if (stat(name_or_path, &about) == 0 && S_ISDIR(about.st_mode)) {
        path_text path = path_join(name_or_path, "config.json");
        if (!path.text[0]) FAIL(ARG, "model \"%.60s...\": path too long", name_or_path);
        return load_file(c, path.text);
    }
    if (path_ends_with(name_or_path, ".json")) return load_file(c, name_or_path);
    const char *names[64];
    int count = presets_count() < 64 ? presets_count() : 64;
    for (int i = 0; i < count; i++) names[i] = presets_name(i);
    FAIL(ARG, "model \"%s\": neither a preset (the nearest is %s), nor a .json file, nor a folder with config.json",
         name_or_path, nearest_name(name_or_path, names, count));
}

void model_config_log(const model_config *c, bool trains) {
    if (*c->unknown) log_line("model: %s: these keys are not known and are ignored: %s", c->name, c->unknown);
    if (trains && *c->dropout) log_line("model: %s: dropout is not applied: %s", c->name, c->dropout);
}

/* ---- writing ---- */

/* the double that prints as the shortest decimal which reads back as f: 1e-05, not 9.99999974737875e-06 */
static double shortest(float f) {
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        if (strtof(text, NULL) == f) break;
    }
    return strtod(text, NULL);
}

static void write_llama(json_t *json, const model_config *c) {
    rope_keys_write(json, &c->rope);
    window_keys_write(json, c);
    if (c->attn_bias) json_object_set_new(json, "attention_bias", json_true());
    if (c->mlp_bias) json_object_set_new(json, "mlp_bias", json_true());
}

json_t *model_config_to_json(const model_config *c) {
    int type = 0;
    while (types[type].arch != c->arch) type++;
    json_t *json = json_object();
    json_array_append_new(json_add_array(json, "architectures"), json_string_nocheck(types[type].class_name));
    json_object_set_new(json, "model_type", json_string(types[type].model_type));
    bool gpt2 = c->arch == ARCH_GPT2;
    for (int i = 0; i < SIZES; i++)
        if (!gpt2 || sizes[i].gpt2)
            json_object_set_new(json, key_of(c, i), json_integer(*size_of((model_config *)c, i)));
    if (gpt2) {
        json_object_set_new(json, "activation_function", json_string("gelu_new"));
        json_object_set_new(json, "layer_norm_epsilon", json_real(shortest(c->norm_eps)));
        for (int i = 0; i < 3; i++) /* transformers would train with 0.1 of each */
            json_object_set_new(json, (const char *[]){"embd_pdrop", "attn_pdrop", "resid_pdrop"}[i], json_integer(0));
    } else {
        json_object_set_new(json, "hidden_act", json_string("silu"));
        json_object_set_new(json, "rms_norm_eps", json_real(shortest(c->norm_eps)));
        write_llama(json, c);
    }
    json_object_set_new(json, "initializer_range", json_real(c->init_std));
    json_object_set_new(json, "tie_word_embeddings", json_boolean(c->tied));
    return json;
}

status model_config_add_shape(json_t *o, const model_config *c) {
    json_t *shape = json_add_object(o, "shape");
    if (!shape) FAIL(MEM, "no memory for the result");
    TRY(json_add_i64(shape, "layers", c->L));
    TRY(json_add_i64(shape, "channels", c->C));
    TRY(json_add_i64(shape, "heads", c->H));
    TRY(json_add_i64(shape, "kv_heads", c->K));
    TRY(json_add_i64(shape, "head_size", c->D));
    TRY(json_add_i64(shape, "feed_forward", c->F));
    TRY(json_add_i64(shape, "vocabulary", c->V));
    TRY(json_add_i64(shape, "context", c->context));
    if (c->window) {
        i64 layers = 0;
        for (i64 l = 0; l < c->L; l++) layers += model_config_window(c, l) > 0;
        TRY(json_add_i64(shape, "window", c->window));
        TRY(json_add_i64(shape, "layers_with_window", layers));
    }
    return json_add_bool(shape, "tied", c->tied);
}
