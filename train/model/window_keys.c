#include "train/model/window_keys.h"

#include <math.h>
#include <string.h>

#include "runtime/json.h"
#include "train/model/model_keys.h"

enum { DEFAULT_WINDOW = 4096, DEFAULT_MAX_WINDOW_LAYERS = 28 }; /* in transformers */

/* the layer sees all keys */
static void set_full(model_config *c, i64 l) { c->full_layers[l / 64] |= (uint64_t)1 << l % 64; }

static status read_whole(i64 *value, const json_t *json, const char *path, const char *key, i64 least) {
    const json_t *item = json_find(json, key);
    if (!item) return STATUS_OK;
    double v = json_number_or_nan(item);
    if (!(v >= (double)least && v <= INT32_MAX) || v != floor(v))
        FAIL(DATA, "%s: key \"%s\" is %s, expected null or a whole number from %ld to %d", path, key,
             model_keys_show(item).text, least, INT32_MAX);
    *value = (i64)v;
    return STATUS_OK;
}

/* allowed: whether a layer may have a window. all: whether it must. */
static status read_layers(model_config *c, const json_t *layers, const char *path, bool allowed, bool all) {
    const json_t *layer;
    size_t i;
    if (!json_is_array(layers))
        FAIL(DATA, "%s: key \"layer_types\" is %s, expected a list", path, model_keys_show(layers).text);
    if (json_array_size(layers) != (size_t)c->L)
        FAIL(DATA, "%s: key \"layer_types\" has %zu layers, expected num_hidden_layers %ld", path,
             json_array_size(layers), c->L);
    json_array_foreach(layers, i, layer) {
        const char *kind = json_string_or_null(layer);
        bool window = kind && !strcmp(kind, "sliding_attention");
        if (!window && (!kind || strcmp(kind, "full_attention")))
            FAIL(DATA, "%s: key \"layer_types\" has %s, expected \"full_attention\" or \"sliding_attention\"", path,
                 model_keys_show(layer).text);
        if ((window && !allowed) || (!window && all))
            FAIL(DATA, "%s: key \"layer_types\" has \"%s\", but the other keys give this layer %s window", path, kind,
                 all ? "a" : "no");
        if (!window && allowed) set_full(c, (i64)i);
    }
    return STATUS_OK;
}

status window_keys_read(model_config *c, const json_t *json, const char *path) {
    const json_t *use = json_find(json, "use_sliding_window"), *layers = json_find(json, "layer_types");
    bool mistral = c->arch == ARCH_MISTRAL, qwen = c->arch == ARCH_QWEN2 || c->arch == ARCH_QWEN3;
    i64 window = mistral && json_object_get(json, "sliding_window") ? 0 : DEFAULT_WINDOW;
    i64 first = DEFAULT_MAX_WINDOW_LAYERS;
    if (use && !json_is_boolean(use))
        FAIL(DATA, "%s: key \"use_sliding_window\" is %s, expected true or false", path, model_keys_show(use).text);
    TRY(read_whole(&window, json, path, "sliding_window", 1));
    TRY(read_whole(&first, json, path, "max_window_layers", 0));
    const json_t *size = json_object_get(json, "sliding_window");
    bool windows = window && (mistral || (qwen && json_is_true(use) && !(size && json_is_null(size))));
    if (windows && !mistral && c->L > MODEL_CONFIG_LISTED)
        FAIL(DATA, "%s: key \"sliding_window\" is %ld with %ld layers, expected at most %d", path, window, c->L,
             MODEL_CONFIG_LISTED);
    if (layers) TRY(read_layers(c, layers, path, windows, windows && mistral));
    for (i64 l = 0; windows && !mistral && !layers && l < c->L && l < first; l++) set_full(c, l);
    if (windows) c->window = window;
    bool used = false;
    for (i64 l = 0; l < c->L && !used; l++) used = model_config_window(c, l) > 0;
    if (used) return STATUS_OK;
    c->window = 0;
    memset(c->full_layers, 0, sizeof c->full_layers);
    return STATUS_OK;
}

void window_keys_write(json_t *json, const model_config *c) {
    bool windows = c->window > 0;
    if (c->arch == ARCH_MISTRAL)
        json_object_set_new(json, "sliding_window", windows ? json_integer(c->window) : json_null());
    if (!windows || c->arch == ARCH_MISTRAL) return;
    i64 first = 0;
    while (!model_config_window(c, first)) first++;
    json_object_set_new(json, "use_sliding_window", json_true());
    json_object_set_new(json, "sliding_window", json_integer(c->window));
    json_object_set_new(json, "max_window_layers", json_integer(first)); /* transformers before "layer_types" */
    json_t *layers = json_add_array(json, "layer_types");
    for (i64 l = 0; l < c->L; l++)
        json_array_append_new(layers, json_string(model_config_window(c, l) ? "sliding_attention" : "full_attention"));
}
