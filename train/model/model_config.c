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
    {"gpt2", "GPT2LMHeadModel", ARCH_GPT2},        {"llama", "LlamaForCausalLM", ARCH_LLAMA},
    {"qwen2", "Qwen2ForCausalLM", ARCH_QWEN2},     {"qwen3", "Qwen3ForCausalLM", ARCH_QWEN3},
    {"mistral", "MistralForCausalLM", ARCH_LLAMA}, /* Llama with a sliding window; written as llama */
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
    if (c->proj_bias) block += C + up + C;
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

static status check_rope(const model_config *c, const char *where) {
    const rope_scaling *r = &c->rope;
    if (c->D % 2) FAIL(DATA, "%s: key \"head_dim\" is %ld, expected an even number", where, c->D);
    if (!(r->theta > 0) || !isfinite(r->theta))
        FAIL(DATA, "%s: key \"rope_theta\" is %g, expected a number above 0", where, r->theta);
    if (r->factor == 0) return STATUS_OK;
    if (!(r->factor >= 1) || !isfinite(r->factor))
        FAIL(DATA, "%s: key \"factor\" of RoPE is %g, expected a number from 1", where, r->factor);
    if (!(r->low_freq_factor > 0) || !isfinite(r->low_freq_factor))
        FAIL(DATA, "%s: key \"low_freq_factor\" is %g, expected a number above 0", where, r->low_freq_factor);
    if (!(r->high_freq_factor > r->low_freq_factor) || !isfinite(r->high_freq_factor))
        FAIL(DATA, "%s: key \"high_freq_factor\" is %g, expected a number above low_freq_factor %g", where,
             r->high_freq_factor, r->low_freq_factor);
    if (!(r->original_context >= 1) || !isfinite(r->original_context))
        FAIL(DATA, "%s: key \"original_max_position_embeddings\" is %g, expected a number from 1", where,
             r->original_context);
    return STATUS_OK;
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
    if (!c->learned_positions) TRY(check_rope(c, where));
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

/* "rope_theta" beside "rope_scaling" (transformers up to 4), or all in "rope_parameters" (from 5). Where both objects are
 * there, transformers 5.24 reads "rope_scaling" alone; what stands in it comes before the "rope_theta" outside. */
static status read_rope(rope_scaling *r, const json_t *json, const char *path) {
    *r = (rope_scaling){.theta = 10000}; /* transformers' default */
    TRY(read_number(&r->theta, json, path, "rope_theta", false));
    const json_t *parameters = json_object_get(json, "rope_parameters");
    const json_t *scaling = json_object_get(json, "rope_scaling");
    bool older = !absent(scaling) && (!json_is_object(scaling) || json_object_size(scaling));
    const char *key = older ? "rope_scaling" : "rope_parameters";
    const json_t *given = older ? scaling : parameters;
    if (absent(given)) return STATUS_OK;
    if (!json_is_object(given))
        FAIL(DATA, "%s: key \"%s\" is %s, expected null or an object", path, key, model_keys_show(given).text);
    TRY(read_number(&r->theta, given, path, "rope_theta", false));
    const json_t *partial = json_object_get(given, "partial_rotary_factor");
    if (!absent(partial) && json_number_or_nan(partial) != 1)
        FAIL(DATA, "%s: key \"partial_rotary_factor\" is %s, expected 1", path, model_keys_show(partial).text);
    const json_t *type = json_object_get(given, "rope_type");
    if (!type) type = json_object_get(given, "type");
    const char *name = json_string_or_null(type) ? json_string_or_null(type) : "";
    if (strcmp(name, "default") == 0 || (!type && given == parameters)) return STATUS_OK;
    if (strcmp(name, "llama3"))
        FAIL(DATA, "%s: key \"rope_type\" in \"%s\" is %s, expected \"default\" or \"llama3\"", path, key,
             model_keys_show(type).text);
    TRY(read_number(&r->factor, given, path, "factor", true));
    TRY(read_number(&r->low_freq_factor, given, path, "low_freq_factor", true));
    TRY(read_number(&r->high_freq_factor, given, path, "high_freq_factor", true));
    TRY(read_number(&r->original_context, given, path, "original_max_position_embeddings", true));
    if (r->factor == 0) /* 0 would mean no scaling */
        FAIL(DATA, "%s: key \"factor\" in \"%s\" is 0, expected a number from 1", path, key);
    double outside = r->original_context;
    TRY(read_number(&outside, json, path, "original_max_position_embeddings", false));
    if (outside != r->original_context)
        FAIL(DATA, "%s: key \"original_max_position_embeddings\" is %g, and %g in \"%s\"; expected the same", path,
             outside, r->original_context, key);
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
    TRY(model_keys_check(json, &keys, c->context));
    model_keys_dropout(c->dropout, sizeof c->dropout, json);
    model_keys_unknown(c->unknown, sizeof c->unknown, json, &keys, is_size);
    double eps = 1e-5;
    if (c->arch == ARCH_GPT2) TRY(read_number(&eps, json, path, "layer_norm_epsilon", false));
    else TRY(read_number(&eps, json, path, "rms_norm_eps", true));
    c->norm_eps = (float)eps;
    if (!c->learned_positions) TRY(read_rope(&c->rope, json, path));
    TRY(read_number(&c->init_std, json, path, "initializer_range", false));
    const json_t *tied = json_object_get(json, "tie_word_embeddings");
    if (tied && !json_is_boolean(tied))
        FAIL(DATA, "%s: key \"tie_word_embeddings\" is %s, expected true or false", path, model_keys_show(tied).text);
    c->tied = tied ? json_is_true(tied) : c->arch == ARCH_GPT2;
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
    if (*c->unknown) log_line("model: %s: these keys are not known and have no effect: %s", c->name, c->unknown);
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

static void write_rope(json_t *json, const rope_scaling *r) {
    json_object_set_new(json, "rope_theta", json_real(r->theta));
    if (r->factor == 0) {
        json_object_set_new(json, "rope_scaling", json_null());
        return;
    }
    json_t *scaling = json_add_object(json, "rope_scaling");
    json_object_set_new(scaling, "rope_type", json_string("llama3"));
    json_object_set_new(scaling, "factor", json_real(r->factor));
    json_object_set_new(scaling, "low_freq_factor", json_real(r->low_freq_factor));
    json_object_set_new(scaling, "high_freq_factor", json_real(r->high_freq_factor));
    json_object_set_new(scaling, "original_max_position_embeddings", json_real(r->original_context));
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
        write_rope(json, &c->rope);
    }
    json_object_set_new(json, "initializer_range", json_real(c->init_std));
    json_object_set_new(json, "tie_word_embeddings", json_boolean(c->tied));
    return json;
}
