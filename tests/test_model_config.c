#include "tests/check.h"

#include "runtime/json.h"
#include <string.h>
#include <unistd.h>

#include "runtime/nearest.h"
#include "train/model/param_table.h"
#include "train/model/presets.h"

/* as published with the weights: every unique parameter, a tied head once */
static const struct {
    const char *name;
    i64 parameters;
} published[] = {
    {"gpt2-124m", 124439808},       {"gpt2-355m", 354823168},     {"gpt2-774m", 774030080},
    {"llama-3m", 2706048},          {"gpt2-1558m", 1557611200},   {"llama-15m", 15191712},
    {"llama-42m", 41689600},        {"llama-110m", 109529856},    {"smollm2-135m", 134515008},
    {"smollm2-360m", 361821120},    {"smollm2-1.7b", 1711376384}, {"qwen2.5-0.5b", 494032768},
    {"qwen2.5-1.5b", 1543714304},   {"qwen2.5-3b", 3085938688},   {"qwen2.5-7b", 7615616512},
    {"qwen3-0.6b", 596049920},      {"qwen3-1.7b", 1720574976},   {"tinyllama-1.1b", 1100048384},
    {"llama3.2-1b", 1235814400},    {"llama3.2-3b", 3212749824},  {"llama2-7b", 6738415616},
    {"llama3.1-8b", 8030261248},    {"llama2-13b", 13015864320},  {"llama2-70b", 68976648192},
    {"codellama-34b", 33743970304},
};
enum { PUBLISHED = sizeof published / sizeof *published };

static void test_presets_have_the_published_numbers_of_parameters(void **state) {
    (void)state;
    assert_int_equal(presets_count(), PUBLISHED);
    for (int i = 0; i < PUBLISHED; i++) {
        model_config c;
        OK(model_config_load(&c, published[i].name));
        OK(model_config_check(&c));
        assert_string_equal(c.name, published[i].name);
        if (model_config_parameters(&c) != published[i].parameters)
            fail_msg("%s: %ld", c.name, model_config_parameters(&c));
        param_table p;
        OK(param_table_init(&p, &c, 1));
        assert_int_equal(p.parameters, published[i].parameters);
        param_table_free(&p);
    }
}

static void assert_same(const model_config *a, const model_config *b) {
#define SAME(field)                                                                                                    \
    if (a->field != b->field) fail_msg("%s: " #field " is %g, expected %g", b->name, (double)a->field, (double)b->field)
    SAME(arch);
    SAME(L);
    SAME(C);
    SAME(H);
    SAME(K);
    SAME(D);
    SAME(F);
    SAME(V);
    SAME(context);
    SAME(norm_eps);
    SAME(layer_norm);
    SAME(learned_positions);
    SAME(swiglu);
    SAME(qkv_bias);
    SAME(attn_bias);
    SAME(mlp_bias);
    SAME(window);
    assert_memory_equal(a->full_layers, b->full_layers, sizeof a->full_layers);
    SAME(qk_norm);
    SAME(tied);
    SAME(rope.theta);
    SAME(rope.type);
    SAME(rope.factor);
    SAME(rope.low_freq_factor);
    SAME(rope.high_freq_factor);
    SAME(rope.original_context);
    SAME(rope.beta_fast);
    SAME(rope.beta_slow);
    SAME(rope.attention_factor);
    SAME(rope.truncate);
    SAME(init_std);
#undef SAME
}

static json_t *parsed(const char *text) {
    json_t *json;
    OK(json_parse(&json, "m.json", text, strlen(text)));
    return json;
}

/* through text, as a file would hold it */
static void round_trip(model_config *back, const model_config *c) {
    json_t *json = model_config_to_json(c);
    char *text;
    OK(json_print(&text, json, JSON_INDENTED));
    json_t *read = parsed(text);
    OK(model_config_from_json(back, read, "round/trip.json"));
    json_decref(read);
    free(text);
    json_decref(json);
}

static void test_json_reads_back_the_same(void **state) {
    (void)state;
    for (int i = 0; i < presets_count(); i++) {
        model_config c, back;
        presets_get(&c, i);
        round_trip(&back, &c);
        assert_same(&back, &c);
        assert_string_equal(back.name, "round/trip.json");
    }
    model_config odd, back; /* numbers without a short decimal */
    presets_get(&odd, 0);
    odd.norm_eps = 0x1.555556p-17f;
    odd.init_std = 1 / 7.0;
    odd.tied = false;
    round_trip(&back, &odd);
    assert_same(&back, &odd);
}

static void test_json_is_written_in_short_decimals(void **state) {
    (void)state;
    model_config c;
    OK(model_config_load(&c, "qwen2.5-0.5b"));
    json_t *json = model_config_to_json(&c);
    char *text;
    OK(json_print(&text, json, JSON_ONE_LINE));
    assert_non_null(strstr(text, "\"rms_norm_eps\":1e-06,"));
    assert_non_null(strstr(text, "\"architectures\":[\"Qwen2ForCausalLM\"]"));
    assert_null(strstr(text, "dtype"));
    free(text);
    json_decref(json);
}

/* values of the models' own config.json */
static const char gpt2_json[] =
    "{\"activation_function\":\"gelu_new\",\"architectures\":[\"GPT2LMHeadModel\"],\"attn_pdrop\":0.1,"
    "\"bos_token_id\":50256,\"embd_pdrop\":0.1,\"eos_token_id\":50256,\"initializer_range\":0.02,"
    "\"layer_norm_epsilon\":1e-05,\"model_type\":\"gpt2\",\"n_ctx\":1024,\"n_embd\":768,\"n_head\":12,\"n_layer\":12,"
    "\"n_positions\":1024,\"resid_pdrop\":0.1,\"summary_type\":\"cls_index\",\"vocab_size\":50257}";
static const char llama_json[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"head_dim\":64,"
    "\"hidden_act\":\"silu\",\"hidden_size\":2048,\"initializer_range\":0.02,\"intermediate_size\":8192,"
    "\"max_position_embeddings\":131072,\"mlp_bias\":false,\"model_type\":\"llama\",\"num_attention_heads\":32,"
    "\"num_hidden_layers\":16,\"num_key_value_heads\":8,\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,"
    "\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
    "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},\"rope_theta\":500000.0,"
    "\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\",\"vocab_size\":128256}";
static const char qwen2_json[] =
    "{\"architectures\":[\"Qwen2ForCausalLM\"],\"hidden_act\":\"silu\",\"hidden_size\":896,\"initializer_range\":0.02,"
    "\"intermediate_size\":4864,\"max_position_embeddings\":32768,\"max_window_layers\":24,\"model_type\":\"qwen2\","
    "\"num_attention_heads\":14,\"num_hidden_layers\":24,\"num_key_value_heads\":2,\"rms_norm_eps\":1e-06,"
    "\"rope_theta\":1000000.0,\"sliding_window\":32768,\"tie_word_embeddings\":true,\"use_sliding_window\":false,"
    "\"vocab_size\":151936}";
/* transformers 5 writes RoPE in one object, and the layers one by one */
static const char qwen3_json[] =
    "{\"model_type\":\"qwen3\",\"attention_bias\":false,\"dtype\":\"bfloat16\",\"head_dim\":128,\"hidden_act\":"
    "\"silu\","
    "\"hidden_size\":1024,\"initializer_range\":0.02,\"intermediate_size\":3072,"
    "\"max_position_embeddings\":40960,\"num_attention_heads\":16,\"num_hidden_layers\":28,\"num_key_value_heads\":8,"
    "\"rms_norm_eps\":1e-06,\"rope_parameters\":{\"rope_theta\":1000000.0,\"rope_type\":\"default\"},"
    "\"sliding_window\":null,\"tie_word_embeddings\":true,\"use_sliding_window\":false,\"vocab_size\":151936}";

static void test_published_files_are_the_presets(void **state) {
    (void)state;
    const char *const pairs[][2] = {{"gpt2-124m", gpt2_json},
                                    {"llama3.2-1b", llama_json},
                                    {"qwen2.5-0.5b", qwen2_json},
                                    {"qwen3-0.6b", qwen3_json}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        model_config preset, c;
        OK(model_config_load(&preset, pairs[i][0]));
        json_t *json = parsed(pairs[i][1]);
        OK(model_config_from_json(&c, json, "config.json"));
        assert_same(&c, &preset);
        json_decref(json);
    }
}

/* base with key = value (JSON text; NULL removes the key) */
static json_t *edited(const char *base, const char *key, const char *value) {
    json_t *json = parsed(base);
    json_object_del(json, key);
    if (value) assert_int_equal(json_object_set_new(json, key, parsed(value)), 0);
    return json;
}

static void test_what_is_left_out_has_the_familys_default(void **state) {
    (void)state;
    model_config c;
#define READ(base, key, value)                                                                                         \
    do {                                                                                                               \
        json_t *json_ = edited(base, key, value);                                                                      \
        OK(model_config_from_json(&c, json_, "x.json"));                                                               \
        json_decref(json_);                                                                                            \
    } while (0)
    READ(gpt2_json, "n_inner", "null");
    assert_int_equal(c.F, 3072);
    READ(gpt2_json, "n_inner", "1000");
    assert_int_equal(c.F, 1000);
    READ(gpt2_json, "tie_word_embeddings", "false");
    assert_false(c.tied);
    READ(llama_json, "num_key_value_heads", NULL);
    assert_int_equal(c.K, 32);
    READ(llama_json, "head_dim", "null");
    assert_int_equal(c.D, 64);
    READ(llama_json, "tie_word_embeddings", NULL);
    assert_false(c.tied);
    READ(llama_json, "rope_scaling", "null");
    assert_true(c.rope.type == ROPE_DEFAULT && c.rope.theta == 500000);
    READ(llama_json, "rope_theta", NULL);
    assert_true(c.rope.theta == 10000);
    READ(llama_json, "rope_scaling", "{\"type\":\"default\"}");
    assert_true(c.rope.type == ROPE_DEFAULT);
    READ(qwen3_json, "rope_parameters",
         "{\"rope_theta\":7,\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":8192}");
    assert_true(c.rope.theta == 7 && c.rope.factor == 8 && c.rope.original_context == 8192);
#undef READ
    json_t *mistral = edited(llama_json, "model_type", "\"mistral\"");
    assert_int_equal(json_object_set_new(mistral, "sliding_window", json_null()), 0);
    OK(model_config_from_json(&c, mistral, "x.json"));
    assert_int_equal(c.arch, ARCH_MISTRAL);
    json_decref(mistral);
}

static void test_what_we_do_not_compute_is_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *base, *key, *value, *message;
    } cases[] = {
        {gpt2_json, "model_type", NULL, "m.json: key \"model_type\" is missing, expected \"gpt2\", \"llama\""},
        {gpt2_json, "model_type", "\"mixtral\"", "key \"model_type\" is \"mixtral\""},
        {gpt2_json, "model_type", "7", "key \"model_type\" is 7"},
        {gpt2_json, "n_layer", NULL, "key \"n_layer\" is missing, expected a whole number from 1 to 100000"},
        {gpt2_json, "n_layer", "0", "key \"n_layer\" is 0, expected"},
        {gpt2_json, "n_layer", "100001", "key \"n_layer\" is 100001, expected"},
        {gpt2_json, "n_embd", "-768", "key \"n_embd\" is -768, expected"},
        {gpt2_json, "n_embd", "76.5", "key \"n_embd\" is 76.5, expected a whole number"},
        {gpt2_json, "n_embd", "\"768\"", "key \"n_embd\" is \"768\", expected a whole number"},
        {gpt2_json, "n_embd", "null", "key \"n_embd\" is null, expected a whole number"},
        {gpt2_json, "n_embd", "770", "key \"n_embd\" is 770, expected a multiple of 12 heads"},
        {gpt2_json, "n_head", "[12]", "key \"n_head\" is [12], expected a whole number"},
        {gpt2_json, "n_positions", "4294967296", "key \"n_positions\" is 4294967296, expected a whole number"},
        {gpt2_json, "vocab_size", "1000000000000000000000000",
         "key \"vocab_size\" is 1000000000000000000000000, expected a whole number"},
        {gpt2_json, "n_inner", "2147483647000", "key \"n_inner\" is 2147483647000, expected a whole number"},
        {gpt2_json, "activation_function", "\"relu\"",
         "key \"activation_function\" is \"relu\", expected \"gelu_new\""},
        {gpt2_json, "scale_attn_weights", "false", "key \"scale_attn_weights\" is false, expected true"},
        {gpt2_json, "scale_attn_by_inverse_layer_idx", "true", "is true, expected false"},
        {gpt2_json, "add_cross_attention", "true", "is true, expected false"},
        {gpt2_json, "is_causal", "false", "key \"is_causal\" is false, expected true"},
        {llama_json, "is_causal", "false", "key \"is_causal\" is false, expected true"},
        {llama_json, "use_bidirectional_attention", "true", "key \"use_bidirectional_attention\" is true"},
        {llama_json, "per_layer_config", "{\"0\":{\"num_attention_heads\":2}}", "key \"per_layer_config\" is {"},
        {gpt2_json, "layer_norm_epsilon", "0", "key \"layer_norm_epsilon\" is 0, expected a number between 0 and 1"},
        {gpt2_json, "layer_norm_epsilon", "true", "key \"layer_norm_epsilon\" is true, expected a number"},
        {gpt2_json, "initializer_range", "-1", "key \"initializer_range\" is -1, expected"},
        {gpt2_json, "tie_word_embeddings", "1", "key \"tie_word_embeddings\" is 1, expected true or false"},
        {llama_json, "hidden_size", "2147483648", "key \"hidden_size\" is 2147483648, expected a whole number"},
        {llama_json, "intermediate_size", NULL, "key \"intermediate_size\" is missing"},
        {llama_json, "num_key_value_heads", "5", "\"num_attention_heads\" is 32, expected a multiple of num_key_value"},
        {llama_json, "num_key_value_heads", "64",
         "\"num_attention_heads\" is 32, expected a multiple of num_key_value"},
        {llama_json, "head_dim", "63", "key \"head_dim\" is 63, expected an even number"},
        {llama_json, "head_dim", "2147483647", "key \"head_dim\" is 2147483647, expected an even number"},
        {llama_json, "head_dim", "2147483646", "the sizes give"},
        {llama_json, "rms_norm_eps", NULL, "key \"rms_norm_eps\" is missing, expected a number"},
        {llama_json, "rope_theta", "0", "key \"rope_theta\" is 0, expected a number above 0"},
        {llama_json, "rope_theta", "\"1e4\"", "key \"rope_theta\" is \"1e4\", expected a number"},
        {llama_json, "attention_bias", "1", "key \"attention_bias\" is 1, expected true or false"},
        {qwen2_json, "attention_bias", "true", "key \"attention_bias\" is true, expected false"},
        {qwen3_json, "mlp_bias", "true", "key \"mlp_bias\" is true, expected false"},
        {llama_json, "hidden_act", "\"gelu\"", "key \"hidden_act\" is \"gelu\", expected \"silu\""},
        {llama_json, "partial_rotary_factor", "0.5", "key \"partial_rotary_factor\" is 0.5, expected 1"},
        {llama_json, "rope_scaling", "{\"type\":\"longrope\",\"factor\":2}",
         "key \"rope_type\" in \"rope_scaling\" is \"longrope\", expected \"default\", \"linear\""},
        {llama_json, "rope_scaling", "{\"type\":\"linear\",\"factor\":2,\"long_factor\":[1]}",
         "key \"long_factor\" in \"rope_scaling\" is [1], expected no such key"},
        {llama_json, "rope_scaling", "{\"type\":\"linear\"}", "key \"factor\" is missing, expected a number"},
        {llama_json, "rope_scaling", "{\"type\":\"dynamic\",\"factor\":0.5}",
         "key \"factor\" of RoPE is 0.5, expected a number from 1"},
        {llama_json, "rope_scaling", "{\"type\":\"yarn\",\"factor\":2,\"beta_fast\":1}",
         "key \"beta_fast\" is 1, expected a number above beta_slow 1"},
        {llama_json, "rope_scaling", "{\"type\":\"yarn\",\"factor\":2,\"attention_factor\":-1}",
         "key \"attention_factor\" of RoPE is -1, expected a number above 0"},
        {llama_json, "rope_scaling", "{\"type\":\"yarn\",\"factor\":2,\"truncate\":1}",
         "key \"truncate\" is 1, expected true or false"},
        {llama_json, "rope_scaling", "{\"type\":\"yarn\",\"factor\":2,\"truncate\":null}",
         "key \"truncate\" is null, expected true or false"},
        {qwen3_json, "rope_parameters", "{\"full_attention\":{\"rope_theta\":1}}",
         "key \"full_attention\" in \"rope_parameters\" is {\"rope_theta\":1}, expected no such key"},
        {llama_json, "rope_scaling", "{\"factor\":2}", "key \"rope_type\" in \"rope_scaling\" is missing"},
        {llama_json, "rope_scaling", "2", "key \"rope_scaling\" is 2, expected null or an object"},
        {llama_json, "rope_scaling", "{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1}",
         "key \"high_freq_factor\" is missing, expected a number"},
        {llama_json, "rope_scaling",
         "{\"rope_type\":\"llama3\",\"factor\":0,\"low_freq_factor\":1,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":8192}",
         "key \"factor\" of RoPE is 0, expected a number from 1"},
        {llama_json, "rope_scaling",
         "{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":8192}",
         "key \"high_freq_factor\" is 4, expected a number above low_freq_factor 4"},
        {qwen3_json, "rope_parameters", "{\"rope_theta\":1,\"partial_rotary_factor\":0.25}",
         "key \"partial_rotary_factor\" is 0.25, expected 1"},
        {qwen2_json, "use_sliding_window", "1", "key \"use_sliding_window\" is 1, expected true or false"},
        {qwen2_json, "num_key_value_heads", NULL, "key \"num_key_value_heads\" is missing"},
        {qwen3_json, "layer_types", "[\"full_attention\",\"sliding_attention\"]",
         "key \"layer_types\" has 2 layers, expected num_hidden_layers 28"},
        {qwen3_json, "layer_types", "\"full_attention\"", "key \"layer_types\" is \"full_attention\", expected a list"},
        {qwen3_json, "head_dim", NULL, "key \"head_dim\" is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_config c;
        json_t *json = edited(cases[i].base, cases[i].key, cases[i].value);
        FAILS(DATA, cases[i].message, model_config_from_json(&c, json, "m.json"));
        json_decref(json);
    }
    model_config c;
    json_t *list = json_array();
    FAILS(DATA, "m.json: found [], expected a JSON object", model_config_from_json(&c, list, "m.json"));
    json_decref(list);
}

static void test_check_of_a_config_made_by_hand(void **state) {
    (void)state;
    model_config c;
    OK(model_config_load(&c, "llama-15m"));
    c.init_std = NAN;
    FAILS(DATA, "llama-15m: key \"initializer_range\" is nan", model_config_check(&c));
    OK(model_config_load(&c, "llama-15m"));
    c.context = 0;
    FAILS(DATA, "llama-15m: key \"max_position_embeddings\" is 0", model_config_check(&c));
    OK(model_config_load(&c, "gpt2-124m"));
    c.K = 4;
    FAILS(DATA, "key \"n_embd\" is 768, expected n_head x head size = 12 x 64", model_config_check(&c));
    OK(model_config_load(&c, "llama3.2-1b"));
    c.rope.type = ROPE_LINEAR, c.rope.factor = 0.5;
    FAILS(DATA, "key \"factor\" of RoPE is 0.5", model_config_check(&c));
}

static void write_text(const char *path, const char *text, size_t bytes) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fwrite(text, 1, bytes, f);
    fclose(f);
}

static void test_files_and_folders_load(void **state) {
    (void)state;
    char folder[] = "/tmp/tally-config-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/config.json", folder);
    model_config c, preset;
    FAILS(DATA, path, model_config_load(&c, folder)); /* an empty folder */
    write_text(path, llama_json, strlen(llama_json));
    OK(model_config_load(&preset, "llama3.2-1b"));
    OK(model_config_load(&c, folder));
    assert_same(&c, &preset);
    OK(model_config_load(&c, path));
    assert_same(&c, &preset);
    assert_string_equal(c.name, path);
    for (size_t cut = 0; cut < strlen(llama_json); cut += 37) { /* torn anywhere */
        write_text(path, llama_json, cut);
        FAILS(DATA, "config.json:1:", model_config_load(&c, path));
    }
    write_text(path, "{} {}", 5);
    FAILS(DATA, "config.json:1:4: found", model_config_load(&c, path));
    unlink(path);
    rmdir(folder);
}

static void test_an_unknown_name_fails_with_the_nearest(void **state) {
    (void)state;
    model_config c;
    FAILS(ARG, "model \"gpt2-125m\": neither a preset (the nearest is gpt2-124m)", model_config_load(&c, "gpt2-125m"));
    FAILS(ARG, "the nearest is llama3.1-8b", model_config_load(&c, "Llama-3.1-8B"));
    FAILS(ARG, "neither a preset", model_config_load(&c, ""));
}

static void test_nearest_name(void **state) {
    (void)state;
    const char *const names[] = {"kitten", "sitting", "Sunday"};
    assert_string_equal(nearest_name("sittin", names, 3), "sitting");
    assert_string_equal(nearest_name("SUNDAY", names, 3), "Sunday");
    assert_string_equal(nearest_name("", names, 3), "kitten"); /* 6 edits from two of them: the first */
    assert_string_equal(nearest_name("mitten", names, 2), "kitten");
    assert_null(nearest_name("x", names, 0));
    char endless[1000];
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    const char *const same[] = {"b", endless};
    assert_string_equal(nearest_name(endless, same, 2), endless);
}

static void test_presets_print_a_line_each(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    model_config_print_presets(f);
    fclose(f);
    int lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++) lines++;
    assert_int_equal(lines, 1 + presets_count());
    for (int i = 0; i < presets_count(); i++) assert_non_null(strstr(text, presets_name(i)));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets_have_the_published_numbers_of_parameters),
        cmocka_unit_test(test_json_reads_back_the_same),
        cmocka_unit_test(test_json_is_written_in_short_decimals),
        cmocka_unit_test(test_published_files_are_the_presets),
        cmocka_unit_test(test_what_is_left_out_has_the_familys_default),
        cmocka_unit_test(test_what_we_do_not_compute_is_refused_by_name),
        cmocka_unit_test(test_check_of_a_config_made_by_hand),
        cmocka_unit_test(test_files_and_folders_load),
        cmocka_unit_test(test_an_unknown_name_fails_with_the_nearest),
        cmocka_unit_test(test_nearest_name),
        cmocka_unit_test(test_presets_print_a_line_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
