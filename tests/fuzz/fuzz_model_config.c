/* A Hugging Face config.json that is accepted describes a model that can be counted, and is the same when written. */
#include "tests/fuzz/fuzz.h"

#include "runtime/json.h"
#include "train/model/model_config.h"

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    seeds[0] = fuzz_text("{\"model_type\": \"gpt2\", \"vocab_size\": 50257, \"n_positions\": 1024, \"n_embd\": 768, "
                         "\"n_layer\": 12, \"n_head\": 12, \"layer_norm_epsilon\": 1e-5, \"activation_function\": "
                         "\"gelu_new\", \"n_inner\": null, \"initializer_range\": 0.02}");
    seeds[1] =
        fuzz_text("{\"model_type\": \"llama\", \"vocab_size\": 32000, \"hidden_size\": 64, \"intermediate_size\": "
                  "160, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
                  "\"rms_norm_eps\": 1e-5, \"max_position_embeddings\": 128, \"rope_theta\": 10000.0, "
                  "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
                  "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}, "
                  "\"tie_word_embeddings\": false, \"hidden_act\": \"silu\", \"initializer_range\": 0.02}");
    seeds[2] =
        fuzz_text("{\"model_type\": \"qwen3\", \"vocab_size\": 257, \"hidden_size\": 32, \"intermediate_size\": 64, "
                  "\"num_hidden_layers\": 1, \"num_attention_heads\": 4, \"num_key_value_heads\": 1, \"head_dim\": 16, "
                  "\"rms_norm_eps\": 1e-6, \"max_position_embeddings\": 64, \"rope_theta\": 1e6, "
                  "\"tie_word_embeddings\": true, \"hidden_act\": \"silu\", \"attention_bias\": false}");
    seeds[3] =
        fuzz_text("{\"model_type\": \"qwen2\", \"vocab_size\": 257, \"hidden_size\": 32, \"intermediate_size\": 64, "
                  "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 1, \"rms_norm_eps\": "
                  "1e-6, \"max_position_embeddings\": 64, \"use_sliding_window\": true, \"sliding_window\": 99, "
                  "\"max_window_layers\": 1, \"layer_types\": [\"full_attention\", \"sliding_attention\"], "
                  "\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"beta_fast\": 16, \"mscale\": 2, "
                  "\"mscale_all_dim\": 0.5, \"truncate\": false, \"rope_theta\": 5000}}");
    return 4;
}

static char *written(const model_config *c) {
    char *text;
    json_t *json = model_config_to_json(c);
    FUZZ_CHECK(json);
    FUZZ_CHECK(json_print(&text, json, JSON_INDENTED) == STATUS_OK);
    json_decref(json);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    model_config c, again;
    fuzz_put("x.json", data, bytes);
    if (model_config_load(&c, fuzz_path("x.json")) != STATUS_OK) return 0;
    FUZZ_CHECK(model_config_check(&c) == STATUS_OK);
    FUZZ_CHECK(model_config_parameters(&c) > 0);
    char *first = written(&c), *second;
    fuzz_put("y.json", first, strlen(first));
    FUZZ_CHECK(model_config_load(&again, fuzz_path("y.json")) == STATUS_OK);
    second = written(&again);
    FUZZ_CHECK(strcmp(first, second) == 0);
    free(first);
    free(second);
    return 0;
}
