/* Keys of a config.json that change the computation are honoured or refused by name; others are logged. Reference:
 * transformers 5.24. */
#include "tests/check.h"

#include "runtime/json.h"

#include "train/model/model_config.h"

#define LLAMA_SIZES                                                                                                    \
    "\"vocab_size\": 257, \"hidden_size\": 32, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "                 \
    "\"num_key_value_heads\": 2, \"intermediate_size\": 64, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-05"
#define LLAMA3                                                                                                         \
    "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "                     \
    "\"original_max_position_embeddings\": 32"
#define GPT2_SIZES                                                                                                     \
    "\"model_type\": \"gpt2\", \"vocab_size\": 257, \"n_embd\": 32, \"n_layer\": 2, \"n_head\": 4, \"n_positions\": "  \
    "64"

/* keys: what stands beside the sizes */
static status_code load(model_config *c, const char *sizes, const char *keys) {
    char text[2048];
    snprintf(text, sizeof text, "{%s%s%s}", sizes, *keys ? ", " : "", keys);
    json_t *json;
    OK(json_parse(&json, "m.json", text, strlen(text)));
    status_code st = model_config_from_json(c, json, "m.json");
    json_decref(json);
    return st;
}

static void test_dropout_is_told(void **state) {
    (void)state;
    static const struct {
        const char *sizes, *keys, *told;
    } cases[] = {
        {LLAMA_SIZES, "\"model_type\": \"llama\", \"attention_dropout\": 0.1", "attention_dropout 0.1"},
        {LLAMA_SIZES, "\"model_type\": \"llama\", \"attention_dropout\": 0.0, \"hidden_dropout\": null", ""},
        {GPT2_SIZES, "\"resid_pdrop\": 0.1, \"attn_pdrop\": 0.2, \"embd_pdrop\": 0, \"summary_first_dropout\": 0.1",
         "attn_pdrop 0.2, resid_pdrop 0.1"},
        {GPT2_SIZES, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_config c;
        OK(load(&c, cases[i].sizes, cases[i].keys));
        assert_string_equal(c.dropout, cases[i].told);
        assert_string_equal(c.unknown, "");
    }
    model_config c;
    FAILS(DATA, "m.json: key \"attn_pdrop\" is 1, expected a number from 0 to below 1",
          load(&c, GPT2_SIZES, "\"attn_pdrop\": 1"));
    FAILS(DATA, "key \"attn_pdrop\" is \"0.1\", expected", load(&c, GPT2_SIZES, "\"attn_pdrop\": \"0.1\""));
}

static void test_a_window_that_is_not_reached_is_no_window(void **state) {
    (void)state;
    static const struct {
        const char *type, *keys, *message; /* NULL: accepted */
    } cases[] = {
        {"mistral", "\"sliding_window\": 4096", NULL},
        {"mistral", "\"sliding_window\": 64", NULL}, /* a window of W sees itself and W - 1 before it */
        {"mistral", "\"sliding_window\": 63",
         "m.json: key \"sliding_window\" is 63, expected null or at least max_position_embeddings, 64"},
        {"mistral", "\"sliding_window\": null", NULL},
        {"mistral", "\"use_cache\": true", NULL}, /* absent: 4096 */
        {"mistral", "\"sliding_window\": \"64\"", "key \"sliding_window\" is \"64\", expected"},
        {"llama", "\"sliding_window\": 4", NULL}, /* transformers' Llama has no windows */
        {"qwen2", "\"use_sliding_window\": false, \"sliding_window\": 4", NULL},
        {"qwen2", "\"use_sliding_window\": true, \"sliding_window\": 64, \"max_window_layers\": 1", NULL},
        {"qwen2", "\"use_sliding_window\": true, \"sliding_window\": 32", "key \"sliding_window\" is 32, expected"},
        {"qwen3", "\"head_dim\": 8, \"use_sliding_window\": true", NULL},
        {"qwen3",
         "\"head_dim\": 8, \"layer_types\": [\"full_attention\", \"sliding_attention\"], \"sliding_window\": 64", NULL},
        {"qwen3",
         "\"head_dim\": 8, \"layer_types\": [\"full_attention\", \"sliding_attention\"], \"sliding_window\": 8",
         "key \"sliding_window\" is 8, expected at least max_position_embeddings, 64"},
        {"qwen3", "\"head_dim\": 8, \"layer_types\": [\"linear_attention\"]",
         "key \"layer_types\" has \"linear_attention\", expected \"full_attention\" or \"sliding_attention\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char keys[512];
        model_config c;
        snprintf(keys, sizeof keys, "\"model_type\": \"%s\", %s", cases[i].type, cases[i].keys);
        if (cases[i].message) FAILS(DATA, cases[i].message, load(&c, LLAMA_SIZES, keys));
        else OK(load(&c, LLAMA_SIZES, keys));
    }
}

static void test_rope_is_read_as_transformers_reads_it(void **state) {
    (void)state;
    static const struct {
        const char *keys;
        double theta, factor;
    } cases[] = {
        {"\"rope_scaling\": " LLAMA3 "}, \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500000}",
         10000, 8},
        {"\"rope_scaling\": " LLAMA3 "}, \"rope_theta\": 7000, \"rope_parameters\": {\"rope_theta\": 500000}", 7000, 8},
        {"\"rope_scaling\": {\"rope_type\": \"default\"}, \"rope_parameters\": " LLAMA3 "}", 10000, 0},
        {"\"rope_scaling\": null, \"rope_theta\": 7000, \"rope_parameters\": {\"rope_theta\": 500000}", 500000, 0},
        {"\"rope_scaling\": {}, \"rope_parameters\": " LLAMA3 ", \"rope_theta\": 500000}", 500000, 8},
        {"\"rope_scaling\": {}, \"rope_theta\": 7000", 7000, 0},
        {"\"rope_parameters\": {}, \"rope_theta\": 7000", 7000, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char keys[512];
        model_config c;
        snprintf(keys, sizeof keys, "\"model_type\": \"llama\", %s", cases[i].keys);
        OK(load(&c, LLAMA_SIZES, keys));
        if (c.rope.theta != cases[i].theta || c.rope.factor != cases[i].factor)
            fail_msg("%s: theta %g, factor %g", keys, c.rope.theta, c.rope.factor);
    }
    model_config c;
    FAILS(DATA, "key \"original_max_position_embeddings\" is 16, and 32 in \"rope_scaling\"; expected the same",
          load(&c, LLAMA_SIZES,
               "\"model_type\": \"llama\", \"rope_scaling\": " LLAMA3 "}, "
               "\"original_max_position_embeddings\": 16"));
}

static void test_other_keys_are_refused_or_told(void **state) {
    (void)state;
    model_config c;
    FAILS(DATA, "key \"quantization_config\" is {\"bits\":4}, expected null",
          load(&c, LLAMA_SIZES, "\"model_type\": \"llama\", \"quantization_config\": {\"bits\": 4}"));
    FAILS(DATA, "key \"pruned_heads\" is {\"0\":[1]}, expected {}",
          load(&c, GPT2_SIZES, "\"pruned_heads\": {\"0\": [1]}"));
    FAILS(DATA, "key \"rope_interleaved\" is true, expected false",
          load(&c, LLAMA_SIZES, "\"model_type\": \"llama\", \"rope_interleaved\": true"));
    /* transformers accepts either key */
    FAILS(DATA, "m.json: key \"hidden_size\" is 64 beside \"n_embd\" 32; expected the same",
          load(&c, GPT2_SIZES, "\"hidden_size\": 64"));
    OK(load(&c, GPT2_SIZES, "\"hidden_size\": 32"));
    assert_string_equal(c.unknown, "");
    OK(load(&c, LLAMA_SIZES,
            "\"model_type\": \"llama\", \"logit_scale\": 2, \"eos_token_id\": [1, 2], \"n_layer\": 3, "
            "\"torch_dtype\": \"bfloat16\", \"top_k\": 50, \"pretraining_tp\": 2"));
    assert_string_equal(c.unknown, "\"logit_scale\", \"n_layer\"");
    char many[1024] = "\"a key of some length\": 1";
    for (int i = 0; i < 30; i++) sprintf(many + strlen(many), ", \"unknown key %d\": 1", i);
    OK(load(&c, GPT2_SIZES, many));
    assert_int_equal(strlen(c.unknown), sizeof c.unknown - 1);
    assert_string_equal(c.unknown + sizeof c.unknown - 4, "...");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout_is_told),
        cmocka_unit_test(test_a_window_that_is_not_reached_is_no_window),
        cmocka_unit_test(test_rope_is_read_as_transformers_reads_it),
        cmocka_unit_test(test_other_keys_are_refused_or_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
