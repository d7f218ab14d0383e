#include "tools/model_folder.h"

#include <stdio.h>
#include <sys/stat.h>

#include "runtime/json.h"
#include "runtime/log.h"
#include "runtime/path.h"
#include "train/checkpoint/tensor_set.h"

bool model_folder_holds(const char *folder, const char *name) {
    struct stat info;
    return stat(path_join(folder, name).text, &info) == 0;
}

status model_folder_newest(const char *run, int *found, path_text *folder) {
    comm *world;
    TRY(comm_open_self(&world));
    status_code st = checkpoint_newest(world, run, found, folder);
    comm_close(world);
    return st;
}

status model_folder_find(model_folder *f, const char *path) {
    *f = (model_folder){0};
    f->folder = path_add_ending(path, "");
    if (model_folder_holds(path, "checkpoints")) {
        int found;
        TRY(model_folder_newest(path, &found, &f->folder));
        if (!found) FAIL(DATA, "%s: the run has no checkpoint yet", path);
        f->checkpoint = true; /* checkpoint_newest has verified it */
    } else if (model_folder_holds(path, "MANIFEST")) {
        TRY(checkpoint_verify(path));
        f->checkpoint = true;
    }
    if (!tensor_set_model_in(f->folder.text))
        FAIL(DATA, "%s: found no checkpoints and no model.safetensors; expected a run, a checkpoint or a model folder",
             path);
    return model_config_load(&f->config, f->folder.text);
}

status model_folder_tokenizer(tokenizer **t, const model_folder *f, const char *path) {
    if (!path) return model_files_tokenizer(t, f->folder.text, f->config.V);
    TRY(tokenizer_open(t, path));
    i64 size = tokenizer_size(*t);
    if (size <= f->config.V) return STATUS_OK;
    tokenizer_close(*t);
    *t = NULL;
    FAIL(DATA, "%s: the tokenizer has %ld tokens, expected at most %ld, the vocabulary of %s", path, size, f->config.V,
         f->folder.text);
}

/* --- stop tokens --- */

static status add_stop(token_list *stops, const json_t *item, const model_folder *f, const char *path) {
    double v = json_number_or_nan(item);
    if (!(v >= 0 && v <= INT32_MAX) || v != (double)(int32_t)v)
        FAIL(DATA, "%s: key \"eos_token_id\" holds something else than tokens", path);
    if (v >= (double)f->config.V) {
        log_line("%s: no text ends at token %.0f of \"eos_token_id\": the vocabulary has %ld", path, v, f->config.V);
        return STATUS_OK;
    }
    for (i64 i = 0; i < stops->count; i++)
        if (stops->ids[i] == (int32_t)v) return STATUS_OK;
    return token_list_add(stops, (int32_t)v);
}

static status add_stops_of(token_list *stops, const model_folder *f, const char *name) {
    path_text path = path_join(f->folder.text, name);
    json_t *o, *item;
    size_t i;
    if (!model_folder_holds(f->folder.text, name)) return STATUS_OK;
    TRY(json_read_file(&o, path.text));
    const json_t *of = json_find(o, "eos_token_id");
    status_code st = STATUS_OK;
    if (json_is_array(of)) {
        json_array_foreach(of, i, item) TRY_DONE(add_stop(stops, item, f, path.text));
    } else if (of) st = add_stop(stops, of, f, path.text);
done:
    json_decref(o);
    return st;
}

status model_folder_stops(token_list *stops, const model_folder *f, const tokenizer *t) {
    *stops = (token_list){0};
    status_code st = add_stops_of(stops, f, "generation_config.json");
    if (!st && !stops->count) st = add_stops_of(stops, f, "config.json");
    int32_t end = tokenizer_end_of_text(t);
    if (!st && !stops->count && end >= 0) st = token_list_add(stops, end);
    if (st) token_list_free(stops);
    return st;
}

/* --- settings that are not applied --- */

static bool has_no_effect(const char *key) {
    static const char *const keys[] = {
        "bos_token_id", "eos_token_id",   "pad_token_id",       "transformers_version", "use_cache",
        "max_length",   "max_new_tokens", "_from_model_config", "output_attentions",    "output_hidden_states"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i])) return true;
    return false;
}

status model_folder_log_settings(const model_folder *f) {
    path_text path = path_join(f->folder.text, "generation_config.json");
    if (!model_folder_holds(f->folder.text, "generation_config.json")) return STATUS_OK;
    json_t *o, *item;
    TRY(json_read_file(&o, path.text));
    char text[512] = "";
    const char *key;
    size_t used = 0;
    json_object_foreach(o, key, item) {
        if (has_no_effect(key) || json_is_null(item)) continue;
        int n = snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", key);
        if (n < 0 || (size_t)n >= sizeof text - used) break;
        used += (size_t)n;
    }
    if (used) log_line("%s: these settings are not applied: %s", path.text, text);
    json_decref(o);
    return STATUS_OK;
}
