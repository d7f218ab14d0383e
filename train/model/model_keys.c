#include "train/model/model_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"

enum { GPT2 = 1, LLAMA = 2, ALL = GPT2 | LLAMA };

/* Keys that must have the one value that this program implements, or its other name. An absent key or null has that value. Those
 * of the last group belong to relatives of these families (Granite, Cohere, Gemma, MiniCPM, OLMo, SmolLM3, mixtures of experts,
 * ...): a file that has them describes another computation, whatever its model_type. */
static const struct {
    const char *key, *expected;
    int families;
    const char *also;
} fixed[] = {
    {"activation_function", "\"gelu_new\"", GPT2, "\"gelu_pytorch_tanh\""},
    {"scale_attn_weights", "true", GPT2, NULL},
    {"scale_attn_by_inverse_layer_idx", "false", GPT2, NULL},
    {"add_cross_attention", "false", GPT2, NULL},
    {"multi_query", "false", GPT2, NULL},
    {"hidden_act", "\"silu\"", LLAMA, "\"swish\""},
    {"hidden_activation", "\"silu\"", LLAMA, "\"swish\""},
    {"partial_rotary_factor", "1", LLAMA, NULL},
    {"rope_interleaved", "false", LLAMA, NULL},
    {"use_mrope", "false", LLAMA, NULL},
    {"quantization_config", "null", ALL, NULL},
    {"pruned_heads", "{}", ALL, NULL},
    {"is_encoder_decoder", "false", ALL, NULL},
    {"is_causal", "true", ALL, NULL},
    {"use_bidirectional_attention", "false", ALL, NULL},
    {"per_layer_config", "null", ALL, NULL},
    /* relatives */
    {"logit_scale", "1", ALL, NULL},
    {"logits_scaling", "1", ALL, NULL},
    {"lm_head_multiplier", "1", ALL, NULL},
    {"final_logit_softcapping", "null", ALL, NULL},
    {"attn_logit_softcapping", "null", ALL, NULL},
    {"attention_multiplier", "null", ALL, NULL},
    {"query_pre_attn_scalar", "null", ALL, NULL},
    {"embedding_multiplier", "1", ALL, NULL},
    {"residual_multiplier", "1", ALL, NULL},
    {"scale_emb", "1", ALL, NULL},
    {"scale_depth", "null", ALL, NULL},
    {"dim_model_base", "null", ALL, NULL},
    {"clip_qkv", "null", ALL, NULL},
    {"use_qk_norm", "false", ALL, NULL},
    {"qk_layernorm", "false", ALL, NULL},
    {"attention_chunk_size", "null", ALL, NULL},
    {"no_rope_layers", "null", ALL, NULL},
    {"no_rope_layer_interval", "null", ALL, NULL},
    {"rope_local_base_freq", "null", ALL, NULL},
    {"rotary_pct", "1", ALL, NULL},
    {"rotary_percentage", "1", ALL, NULL},
    {"rotary_dim", "null", ALL, NULL},
    {"alibi", "false", ALL, NULL},
    {"parallel_attn", "false", ALL, NULL},
    {"use_parallel_residual", "false", ALL, NULL},
    {"lm_head_bias", "false", ALL, NULL},
    {"num_experts", "0", ALL, NULL},
    {"num_local_experts", "0", ALL, NULL},
    {"n_routed_experts", "0", ALL, NULL},
};

/* keys that model_config.c or a function below reads */
static const struct {
    const char *key;
    int families;
} read[] = {
    {"model_type", ALL},           {"initializer_range", ALL},   {"tie_word_embeddings", ALL},
    {"layer_norm_epsilon", GPT2},  {"rms_norm_eps", LLAMA},      {"rope_theta", LLAMA},
    {"rope_scaling", LLAMA},       {"rope_parameters", LLAMA},   {"original_max_position_embeddings", LLAMA},
    {"attention_bias", LLAMA},     {"mlp_bias", LLAMA},          {"sliding_window", LLAMA},
    {"use_sliding_window", LLAMA}, {"max_window_layers", LLAMA}, {"layer_types", LLAMA},
};

static const char *const dropouts[] = {
    "attention_dropout",   "attn_pdrop",     "embd_pdrop",    "resid_pdrop",        "dropout",
    "hidden_dropout_prob", "hidden_dropout", "resid_dropout", "residual_dropout",   "attention_probs_dropout_prob",
    "embd_dropout",        "ffn_dropout",    "embed_dropout", "feedforward_dropout"};

/* keys without effect on the computation */
static const char *const harmless[] = {
    /* the file */
    "architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype", "auto_map", "_commit_hash",
    "tokenizer_class", "_model_name_or_path", "transformers.js_config", "is_llama_config", "unsloth_fixed",
    "unsloth_version",
    /* how the model is run */
    "use_cache", "attn_implementation", "_attn_implementation", "_attn_implementation_autoset",
    "gradient_checkpointing", "pretraining_tp", "chunk_size_feed_forward", "output_attentions", "output_hidden_states",
    "return_dict", "torchscript", "use_bfloat16", "tf_legacy_loss", "reorder_and_upcast_attn", "n_ctx",
    /* other heads and tasks */
    "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout",
    "classifier_dropout", "id2label", "label2id", "num_labels", "_num_labels", "problem_type", "finetuning_task",
    "task_specific_params", "tie_encoder_decoder", "cross_attention_hidden_size", "is_decoder", "prefix",
    /* tokens */
    "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id",
    "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids",
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
        if (strcmp(value.text, fixed[i].expected) && (!fixed[i].also || strcmp(value.text, fixed[i].also)))
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

status model_keys_check(const json_t *json, const keys_of *of) {
    TRY(check_fixed(json, of));
    return check_dropout(json, of);
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
