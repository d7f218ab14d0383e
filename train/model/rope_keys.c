#include "train/model/rope_keys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/json.h"
#include "train/model/model_keys.h"

#define NAME(value, name) [value] = name,
static const char *const types[] = {ROPE_TYPE_LIST(NAME)};
enum { TYPES = sizeof types / sizeof *types };

#define LLAMA3 (1u << ROPE_LLAMA3)
#define YARN (1u << ROPE_YARN)

/* the numbers in the object; yarn's defaults are those of transformers */
static const struct {
    const char *key;
    size_t offset;
    unsigned types; /* that use it */
    double missing; /* 0: it is required */
} numbers[] = {
    {"factor", offsetof(rope_scaling, factor), 1u << ROPE_LINEAR | 1u << ROPE_DYNAMIC | YARN | LLAMA3, 0},
    {"low_freq_factor", offsetof(rope_scaling, low_freq_factor), LLAMA3, 0},
    {"high_freq_factor", offsetof(rope_scaling, high_freq_factor), LLAMA3, 0},
    {"original_max_position_embeddings", offsetof(rope_scaling, original_context), YARN | LLAMA3,
     NAN}, /* the context */
    {"beta_fast", offsetof(rope_scaling, beta_fast), YARN, 32},
    {"beta_slow", offsetof(rope_scaling, beta_slow), YARN, 1},
    {"attention_factor", offsetof(rope_scaling, attention_factor), YARN, NAN}, /* see yarn_attention_factor */
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static double *number_of(rope_scaling *r, int i) { return (double *)((char *)r + numbers[i].offset); }
static bool uses(const rope_scaling *r, int i) { return numbers[i].types >> r->type & 1; }

status rope_keys_check(const rope_scaling *r, const char *where) {
    bool yarn = r->type == ROPE_YARN;
    if (!(r->theta > yarn) || !isfinite(r->theta))
        FAIL(DATA, "%s: key \"rope_theta\" is %g, expected a number above %d", where, r->theta, yarn);
    for (int i = 0; i < NUMBERS; i++) {
        double v = *number_of((rope_scaling *)r, i), least = numbers[i].offset == offsetof(rope_scaling, factor);
        if (!uses(r, i) || (v > 0 && v >= least && isfinite(v))) continue;
        FAIL(DATA, "%s: key \"%s\" of RoPE is %g, expected a number %s", where, numbers[i].key, v,
             least ? "from 1" : "above 0");
    }
    if (r->type == ROPE_LLAMA3 && !(r->high_freq_factor > r->low_freq_factor))
        FAIL(DATA, "%s: key \"high_freq_factor\" is %g, expected a number above low_freq_factor %g", where,
             r->high_freq_factor, r->low_freq_factor);
    if (yarn && !(r->beta_fast > r->beta_slow))
        FAIL(DATA, "%s: key \"beta_fast\" is %g, expected a number above beta_slow %g", where, r->beta_fast,
             r->beta_slow);
    return STATUS_OK;
}

/* An optional key that is absent leaves *value as it is. */
static status read_number(double *value, const json_t *json, const char *path, const char *key) {
    const json_t *item = json_find(json, key);
    if (!item) return STATUS_OK;
    *value = json_number_or_nan(item);
    if (isnan(*value)) FAIL(DATA, "%s: key \"%s\" is %s, expected a number", path, key, model_keys_show(item).text);
    return STATUS_OK;
}

/* 0.1 m ln(factor) + 1, or the quotient of two of them where both keys are there */
static status read_attention_factor(rope_scaling *r, const json_t *given, const char *path) {
    double m = 0, all = 0, ln = log(r->factor);
    TRY(read_number(&m, given, path, "mscale"));
    TRY(read_number(&all, given, path, "mscale_all_dim"));
    if (isnan(r->attention_factor))
        r->attention_factor = m != 0 && all != 0 ? (0.1 * m * ln + 1) / (0.1 * all * ln + 1) : 0.1 * ln + 1;
    return STATUS_OK;
}

static status read_truncate(rope_scaling *r, const json_t *given, const char *path) {
    const json_t *item = json_object_get(given, "truncate"); /* null is not its default in transformers */
    if (item && !json_is_boolean(item))
        FAIL(DATA, "%s: key \"truncate\" is %s, expected true or false", path, model_keys_show(item).text);
    r->truncate = !json_is_false(item);
    return STATUS_OK;
}

/* One object for all layers: transformers 5 has models with an object for each type of layer. */
static status check_names(json_t *given, const char *path, const char *where) {
    static const char *const others[] = {"rope_theta", "rope_type",      "type",     "partial_rotary_factor",
                                         "mscale",     "mscale_all_dim", "truncate", "finetuned"};
    const char *key;
    json_t *item;
    json_object_foreach(given, key, item) {
        bool known = false;
        for (int i = 0; i < NUMBERS; i++) known |= !strcmp(key, numbers[i].key);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) known |= !strcmp(key, others[i]);
        if (!known && !json_is_null(item))
            FAIL(DATA, "%s: key \"%.40s\" in \"%s\" is %s, expected no such key: this program does not implement it",
                 path, key, where, model_keys_show(item).text);
    }
    const json_t *partial = json_find(given, "partial_rotary_factor");
    if (partial && json_number_or_nan(partial) != 1)
        FAIL(DATA, "%s: key \"partial_rotary_factor\" is %s, expected 1", path, model_keys_show(partial).text);
    return STATUS_OK;
}

static status read_type(rope_scaling *r, const json_t *given, const char *path, const char *where, bool older) {
    const json_t *item = json_object_get(given, "rope_type");
    if (!item) item = json_object_get(given, "type");
    const char *name = json_string_or_null(item) ? json_string_or_null(item) : "";
    if (!item && !older) return STATUS_OK;
    for (int i = 0; i < TYPES; i++) {
        r->type = (rope_type)i;
        if (!strcmp(name, types[i])) return STATUS_OK;
    }
    FAIL(DATA,
         "%s: key \"rope_type\" in \"%s\" is %s, expected \"default\", \"linear\", \"dynamic\", \"yarn\" or \"llama3\"",
         path, where, model_keys_show(item).text);
}

static status read_numbers(rope_scaling *r, const json_t *json, const json_t *given, const char *path, i64 context) {
    for (int i = 0; i < NUMBERS; i++) {
        double *v = number_of(r, i);
        if (!uses(r, i)) continue;
        *v = numbers[i].missing;
        TRY(read_number(v, given, path, numbers[i].key));
        if (*v == 0 && numbers[i].missing > 0) *v = numbers[i].missing; /* in transformers 0 is none */
        if (*v == 0 && !json_find(given, numbers[i].key))
            FAIL(DATA, "%s: key \"%s\" is missing, expected a number", path, numbers[i].key);
    }
    if (r->type != ROPE_LLAMA3 && r->type != ROPE_YARN) return STATUS_OK;
    bool inside = !isnan(r->original_context);
    double outside = inside ? r->original_context : (double)context;
    TRY(read_number(&outside, json, path, "original_max_position_embeddings"));
    if (inside && outside != r->original_context)
        FAIL(DATA, "%s: key \"original_max_position_embeddings\" is %g, and %g for RoPE; expected the same", path,
             outside, r->original_context);
    r->original_context = outside;
    return STATUS_OK;
}

status rope_keys_read(rope_scaling *r, json_t *json, const char *path, i64 context) {
    *r = (rope_scaling){.theta = 10000}; /* transformers' default */
    TRY(read_number(&r->theta, json, path, "rope_theta"));
    json_t *scaling = json_find(json, "rope_scaling") ? json_object_get(json, "rope_scaling") : NULL;
    bool older = scaling && (!json_is_object(scaling) || json_object_size(scaling));
    const char *where = older ? "rope_scaling" : "rope_parameters";
    json_t *given = older ? scaling : json_object_get(json, "rope_parameters");
    if (!given || json_is_null(given)) return rope_keys_check(r, path);
    if (!json_is_object(given))
        FAIL(DATA, "%s: key \"%s\" is %s, expected null or an object", path, where, model_keys_show(given).text);
    TRY(read_number(&r->theta, given, path, "rope_theta"));
    TRY(read_type(r, given, path, where, older));
    TRY(check_names(given, path, where));
    TRY(read_numbers(r, json, given, path, context));
    if (r->type == ROPE_YARN) {
        TRY(read_attention_factor(r, given, path));
        TRY(read_truncate(r, given, path));
    }
    return rope_keys_check(r, path);
}

void rope_keys_write(json_t *json, const rope_scaling *r) {
    json_object_set_new(json, "rope_theta", json_real(r->theta));
    if (r->type == ROPE_DEFAULT) {
        json_object_set_new(json, "rope_scaling", json_null());
        return;
    }
    json_t *scaling = json_add_object(json, "rope_scaling");
    json_object_set_new(scaling, "rope_type", json_string(types[r->type]));
    for (int i = 0; i < NUMBERS; i++)
        if (uses(r, i)) json_object_set_new(scaling, numbers[i].key, json_real(*number_of((rope_scaling *)r, i)));
    if (r->type == ROPE_YARN) json_object_set_new(scaling, "truncate", json_boolean(r->truncate));
}
