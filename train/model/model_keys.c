#include "train/model/model_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"

enum { GPT2 = 1, LLAMA = 2, ALL = GPT2 | LLAMA };

/* keys that must have the one value that this program implements; an absent key has it */
static const struct {
    const char *key, *expected;
    int families;
} fixed[] = {
    {"activation_function", "\"gelu_new\"", GPT2},
    {"scale_attn_weights", "true", GPT2},
    {"scale_attn_by_inverse_layer_idx", "false", GPT2},
    {"add_cross_attention", "false", GPT2},
    {"hidden_act", "\"silu\"", LLAMA},
    {"attention_bias", "false", LLAMA},
    {"mlp_bias", "false", LLAMA},
    {"partial_rotary_factor", "1", LLAMA},
    {"rope_interleaved", "false", LLAMA},
    {"use_mrope", "false", LLAMA},
    {"quantization_config", "null", ALL},
    {"pruned_heads", "{}", ALL},
    {"is_encoder_decoder", "false", ALL},
};

/* keys that model_config.c or a function below reads */
static const struct {
    const char *key;
    int families;
} read[] = {
    {"model_type", ALL},          {"initializer_range", ALL},    {"tie_word_embeddings", ALL},
    {"layer_norm_epsilon", GPT2}, {"rms_norm_eps", LLAMA},       {"rope_theta", LLAMA},
    {"rope_scaling", LLAMA},      {"rope_parameters", LLAMA},    {"original_max_position_embeddings", LLAMA},
    {"sliding_window", LLAMA},    {"use_sliding_window", LLAMA}, {"max_window_layers", LLAMA},
    {"layer_types", LLAMA},
};

static const char *const dropouts[] = {
    "attention_dropout",   "attn_pdrop",     "embd_pdrop",    "resid_pdrop",        "dropout",
    "hidden_dropout_prob", "hidden_dropout", "resid_dropout", "residual_dropout",   "attention_probs_dropout_prob",
    "embd_dropout",        "ffn_dropout",    "embed_dropout", "feedforward_dropout"};

/* keys without effect on the computation */
static const char *const harmless[] = {
    /* the file */
    "architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype", "auto_map", "_commit_hash",
    "tokenizer_class", "transformers.js_config", "is_llama_config", "unsloth_fixed", "unsloth_version",
    /* how the model is run */
    "use_cache", "attn_implementation", "_attn_implementation", "_attn_implementation_autoset",
    "gradient_checkpointing", "pretraining_tp", "chunk_size_feed_forward", "output_attentions", "output_hidden_states",
    "return_dict", "torchscript", "use_bfloat16", "tf_legacy_loss", "reorder_and_upcast_attn", "n_ctx",
    /* other heads and tasks */
    "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout",
    "classifier_dropout", "id2label", "label2id", "num_labels", "_num_labels", "problem_type", "finetuning_task",
    "task_specific_params", "tie_encoder_decoder", "cross_attention_hidden_size", "is_decoder", "prefix",
    /* tokens */
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids",
    /* generation */
    "do_sample", "temperature", "top_k", "top_p", "typical_p", "max_length", "max_new_tokens", "min_length",
    "num_beams", "num_beam_groups", "num_return_sequences", "early_stopping", "diversity_penalty", "repetition_penalty",
    "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "output_scores",
    "return_dict_in_generate", "remove_invalid_values", "exponential_decay_length_penalty"};

enum { FIXED = sizeof fixed / sizeof *fixed, READ = sizeof read / sizeof *read };
enum { DROPOUTS = sizeof dropouts / sizeof *dropouts, HARMLESS = sizeof harmless / sizeof *harmless };

static const json_t *find(const json_t *json, const char *key) { return json_object_get(json, key); }
static bool absent(const json_t *item) { return !item || json_is_null(item); }

shown_value model_keys_show(const json_t *item) {
    shown_value s = {"missing"};
    char *text = NULL;
    if (item && json_print(&text, item, JSON_ONE_LINE) == STATUS_OK) snprintf(s.text, sizeof s.text, "%.60s", text);
    free(text);
    return s;
}

static bool named(const char *const *list, int count, const char *key) {
    for (int i = 0; i < count; i++)
        if (!strcmp(list[i], key)) return true;
    return false;
}

/* ---- what changes the computation ---- */

static status check_fixed(const json_t *json, const keys_of *of) {
    for (int i = 0; i < FIXED; i++) {
        const json_t *item = find(json, fixed[i].key);
        if (absent(item) || !(fixed[i].families & (of->gpt2 ? GPT2 : LLAMA))) continue;
        shown_value value = model_keys_show(item);
        if (strcmp(value.text, fixed[i].expected))
            FAIL(DATA, "%s: key \"%s\" is %s, expected %s", of->path, fixed[i].key, value.text, fixed[i].expected);
    }
    return STATUS_OK;
}

static status check_dropout(const json_t *json, const keys_of *of) {
    for (int i = 0; i < DROPOUTS; i++) {
        const json_t *item = find(json, dropouts[i]);
        if (absent(item)) continue;
        double v = json_number_or_nan(item);
        if (!(v >= 0 && v < 1))
            FAIL(DATA, "%s: key \"%s\" is %s, expected a number from 0 to below 1", of->path, dropouts[i],
                 model_keys_show(item).text);
    }
    return STATUS_OK;
}

/* *any: whether "layer_types" gives a window to a layer */
static status check_layers(bool *any, const json_t *json, const keys_of *of) {
    const json_t *layer, *layers = find(json, "layer_types");
    size_t i;
    if (!absent(layers) && !json_is_array(layers))
        FAIL(DATA, "%s: key \"layer_types\" is %s, expected a list", of->path, model_keys_show(layers).text);
    json_array_foreach(layers, i, layer) {
        const char *kind = json_string_or_null(layer);
        bool window = kind && !strcmp(kind, "sliding_attention");
        if (!window && (!kind || strcmp(kind, "full_attention")))
            FAIL(DATA, "%s: key \"layer_types\" has %s, expected \"full_attention\" or \"sliding_attention\"", of->path,
                 model_keys_show(layer).text);
        *any |= window;
    }
    return STATUS_OK;
}

/* This program computes full attention only. A window at least as long as every sequence is full attention. */
static status check_window(const json_t *json, const keys_of *of, i64 context) {
    enum { DEFAULT_WINDOW = 4096 }; /* in transformers, for mistral, qwen2 and qwen3 */
    const json_t *window = find(json, "sliding_window"), *use = find(json, "use_sliding_window");
    if (!absent(use) && !json_is_boolean(use))
        FAIL(DATA, "%s: key \"use_sliding_window\" is %s, expected true or false", of->path, model_keys_show(use).text);
    bool layers = false, all = json_is_true(use) || !strcmp(of->model_type, "mistral");
    TRY(check_layers(&layers, json, of));
    if (!layers && (!all || json_is_null(window))) return STATUS_OK;
    double size = window ? json_number_or_nan(window) : DEFAULT_WINDOW;
    if (!(size >= (double)context))
        FAIL(DATA, "%s: key \"sliding_window\" is %s%s, expected %sat least max_position_embeddings, %ld", of->path,
             model_keys_show(window).text, window ? "" : " (which is 4096)", layers ? "" : "null or ", context);
    return STATUS_OK;
}

status model_keys_check(const json_t *json, const keys_of *of, i64 context) {
    TRY(check_fixed(json, of));
    TRY(check_dropout(json, of));
    return of->gpt2 ? STATUS_OK : check_window(json, of, context);
}

/* ---- for the log ---- */

void model_keys_dropout(char *text, size_t room, const json_t *json) {
    size_t used = 0;
    *text = 0;
    for (int i = 0; i < DROPOUTS && used < room; i++) {
        double v = json_number_or_nan(find(json, dropouts[i]));
        if (v > 0) used += (size_t)snprintf(text + used, room - used, "%s%s %g", used ? ", " : "", dropouts[i], v);
    }
}

static bool known(const keys_of *of, const char *key) {
    int family = of->gpt2 ? GPT2 : LLAMA;
    for (int i = 0; i < FIXED; i++)
        if (fixed[i].families & family && !strcmp(fixed[i].key, key)) return true;
    for (int i = 0; i < READ; i++)
        if (read[i].families & family && !strcmp(read[i].key, key)) return true;
    return named(dropouts, DROPOUTS, key) || named(harmless, HARMLESS, key);
}

void model_keys_unknown(char *text, size_t room, json_t *json, const keys_of *of,
                        bool (*is_size)(const keys_of *of, const char *key)) {
    size_t used = 0;
    const char *key;
    json_t *item;
    *text = 0;
    json_object_foreach(json, key, item) if (used < room && !is_size(of, key) && !known(of, key)) used +=
        (size_t)snprintf(text + used, room - used, "%s\"%.40s\"", used ? ", " : "", key);
    if (used >= room) memcpy(text + room - 4, "...", 4);
}
