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

/* windows: one digit for each of the two layers, 1 where it has the window */
static void test_windows_are_read_as_transformers_reads_them(void **state) {
    (void)state;
#define TYPES(a, b) "\"layer_types\": [\"" a "\", \"" b "\"]"
#define USE "\"use_sliding_window\": true, \"sliding_window\": 80"
    static const struct {
        const char *type, *keys, *message; /* NULL: accepted */
        i64 window;
        const char *windows;
    } cases[] = {
        {"mistral", "\"sliding_window\": 4096", NULL, 4096, "11"},
        {"mistral", "\"sliding_window\": 9", NULL, 9, "11"},
        {"mistral", "\"sliding_window\": null", NULL, 0, "00"},
        {"mistral", "\"use_cache\": true", NULL, 4096, "11"},
        {"mistral", "\"sliding_window\": \"64\"", "key \"sliding_window\" is \"64\", expected", 0, NULL},
        {"mistral", TYPES("full_attention", "sliding_attention"),
         "key \"layer_types\" has \"full_attention\", but the other keys give this layer a window", 0, NULL},
        {"llama", "\"sliding_window\": 4", NULL, 0, "00"}, /* transformers' Llama has no windows */
        {"llama", TYPES("full_attention", "sliding_attention"),
         "key \"layer_types\" has \"sliding_attention\", but the other keys give this layer no window", 0, NULL},
        {"qwen2", "\"use_sliding_window\": false, \"sliding_window\": 4", NULL, 0, "00"},
        {"qwen2", USE ", \"max_window_layers\": 1", NULL, 80, "01"},
        {"qwen2", USE ", \"max_window_layers\": 0", NULL, 80, "11"},
        {"qwen2", USE, NULL, 0, "00"}, /* from layer 28 on */
        {"qwen2", "\"use_sliding_window\": true, \"sliding_window\": null, \"max_window_layers\": 0", NULL, 0, "00"},
        {"qwen2", "\"max_window_layers\": -1", "key \"max_window_layers\" is -1, expected null or a whole number", 0,
         NULL},
        {"qwen3", "\"head_dim\": 8, " USE ", " TYPES("sliding_attention", "full_attention"), NULL, 80, "10"},
        {"qwen3", "\"head_dim\": 8, \"sliding_window\": 80, " TYPES("sliding_attention", "full_attention"),
         "key \"layer_types\" has \"sliding_attention\", but the other keys give this layer no window", 0, NULL},
        {"qwen3", "\"head_dim\": 8, " TYPES("full_attention", "linear_attention"),
         "key \"layer_types\" has \"linear_attention\", expected \"full_attention\" or \"sliding_attention\"", 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char keys[512];
        model_config c, back;
        snprintf(keys, sizeof keys, "\"model_type\": \"%s\", %s", cases[i].type, cases[i].keys);
        if (cases[i].message) {
            FAILS(DATA, cases[i].message, load(&c, LLAMA_SIZES, keys));
            continue;
        }
        OK(load(&c, LLAMA_SIZES, keys));
        json_t *json = model_config_to_json(&c);
        OK(model_config_from_json(&back, json, "m.json"));
        json_decref(json);
        for (i64 l = 0; l < 2; l++) {
            i64 expected = cases[i].windows[l] == '1' ? cases[i].window : 0;
            if (model_config_window(&c, l) != expected || model_config_window(&back, l) != expected)
                fail_msg("%s: layer %ld has window %ld, when written and read %ld", keys, l, model_config_window(&c, l),
                         model_config_window(&back, l));
        }
    }
}

static void test_rope_is_read_as_transformers_reads_it(void **state) {
    (void)state;
#define YARN "\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 32"
    static const struct {
        const char *keys;
        double theta;
        rope_type type;
        double factor;
    } cases[] = {
        {"\"rope_scaling\": " LLAMA3 "}, \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500000}",
         10000, ROPE_LLAMA3, 8},
        {"\"rope_scaling\": " LLAMA3 "}, \"rope_theta\": 7000, \"rope_parameters\": {\"rope_theta\": 500000}", 7000,
         ROPE_LLAMA3, 8},
        {"\"rope_scaling\": {\"rope_type\": \"default\"}, \"rope_parameters\": " LLAMA3 "}", 10000, ROPE_DEFAULT, 0},
        {"\"rope_scaling\": null, \"rope_theta\": 7000, \"rope_parameters\": {\"rope_theta\": 500000}", 500000,
         ROPE_DEFAULT, 0},
        {"\"rope_scaling\": {}, \"rope_parameters\": " LLAMA3 ", \"rope_theta\": 500000}", 500000, ROPE_LLAMA3, 8},
        {"\"rope_scaling\": {}, \"rope_theta\": 7000", 7000, ROPE_DEFAULT, 0},
        {"\"rope_parameters\": {}, \"rope_theta\": 7000", 7000, ROPE_DEFAULT, 0},
        {"\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.5}", 10000, ROPE_LINEAR, 2.5},
        {"\"rope_parameters\": {\"rope_type\": \"dynamic\", \"factor\": 2, \"rope_theta\": 7}", 7, ROPE_DYNAMIC, 2},
        {"\"rope_scaling\": {" YARN "}", 10000, ROPE_YARN, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char keys[512];
        model_config c;
        snprintf(keys, sizeof keys, "\"model_type\": \"llama\", %s", cases[i].keys);
        OK(load(&c, LLAMA_SIZES, keys));
        if (c.rope.theta != cases[i].theta || c.rope.type != cases[i].type || c.rope.factor != cases[i].factor)
            fail_msg("%s: theta %g, type %d, factor %g", keys, c.rope.theta, c.rope.type, c.rope.factor);
    }
    model_config c;
    FAILS(DATA, "key \"original_max_position_embeddings\" is 16, and 32 for RoPE; expected the same",
          load(&c, LLAMA_SIZES,
               "\"model_type\": \"llama\", \"rope_scaling\": " LLAMA3 "}, "
               "\"original_max_position_embeddings\": 16"));
}

static void test_yarns_defaults_are_those_of_transformers(void **state) {
    (void)state;
    model_config c;
    OK(load(&c, LLAMA_SIZES, "\"model_type\": \"llama\", \"rope_scaling\": {" YARN "}"));
    assert_true(c.rope.beta_fast == 32 && c.rope.beta_slow == 1 && c.rope.truncate && c.rope.original_context == 32);
    assert_true(fabs(c.rope.attention_factor - (0.1 * log(4) + 1)) < 1e-15);
    OK(load(&c, LLAMA_SIZES,
            "\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4, \"mscale\": 2, "
            "\"mscale_all_dim\": 0.5, \"beta_fast\": 0, \"truncate\": false}"));
    assert_true(c.rope.beta_fast == 32 && !c.rope.truncate && c.rope.original_context == 64); /* the context */
    assert_true(fabs(c.rope.attention_factor - (0.2 * log(4) + 1) / (0.05 * log(4) + 1)) < 1e-15);
    OK(load(&c, LLAMA_SIZES,
            "\"model_type\": \"llama\", \"original_max_position_embeddings\": 16, \"rope_parameters\": {\"rope_type\": "
            "\"yarn\", \"factor\": 4, \"attention_factor\": 1.5, \"beta_fast\": 8, \"beta_slow\": 2}"));
    assert_true(c.rope.beta_fast == 8 && c.rope.beta_slow == 2 && c.rope.attention_factor == 1.5);
    assert_true(c.rope.original_context == 16);
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
    FAILS(DATA, "key \"logits_scaling\" is 8, expected 1",
          load(&c, LLAMA_SIZES, "\"model_type\": \"llama\", \"logits_scaling\": 8.0"));
    OK(load(&c, LLAMA_SIZES, "\"model_type\": \"llama\", \"hidden_act\": \"swish\", \"partial_rotary_factor\": 1.0"));
    OK(load(&c, GPT2_SIZES, "\"activation_function\": \"gelu_pytorch_tanh\""));
    /* transformers accepts either key */
    FAILS(DATA, "m.json: key \"hidden_size\" is 64 beside \"n_embd\" 32; expected the same",
          load(&c, GPT2_SIZES, "\"hidden_size\": 64"));
    OK(load(&c, GPT2_SIZES, "\"hidden_size\": 32"));
    assert_string_equal(c.unknown, "");
    OK(load(&c, LLAMA_SIZES,
            "\"model_type\": \"llama\", \"logit_scales\": 2, \"logit_scale\": 1.0, \"eos_token_id\": [1, 2], "
            "\"n_layer\": 3, "
            "\"torch_dtype\": \"bfloat16\", \"top_k\": 50, \"pretraining_tp\": 2"));
    assert_string_equal(c.unknown, "\"logit_scales\", \"n_layer\"");
    char many[1024] = "\"a key of some length\": 1";
    for (int i = 0; i < 30; i++) sprintf(many + strlen(many), ", \"unknown key %d\": 1", i);
    OK(load(&c, GPT2_SIZES, many));
    assert_int_equal(strlen(c.unknown), sizeof c.unknown - 1);
    assert_string_equal(c.unknown + sizeof c.unknown - 4, "...");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout_is_told),
        cmocka_unit_test(test_windows_are_read_as_transformers_reads_them),
        cmocka_unit_test(test_rope_is_read_as_transformers_reads_it),
        cmocka_unit_test(test_yarns_defaults_are_those_of_transformers),
        cmocka_unit_test(test_other_keys_are_refused_or_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
