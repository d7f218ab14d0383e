#include "tests/check.h"

#include <string.h>

#include "train/checkpoint/hf.h"
#include "train/model/presets.h"

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

/* every piece of a parameter begins where the one before it ended, the last ends at the end, and no two tensors of a
 * model have the same name */
static void test_pieces_cover_every_preset_once(void **state) {
    (void)state;
    for (int i = 0; i < presets_count(); i++) {
        model_config c;
        presets_get(&c, i);
        param_table p;
        OK(param_table_init(&p, &c, 1));
        char(*names)[96] = malloc((size_t)p.count * 3 * sizeof *names);
        int count = 0;
        i64 parameters = 0;
        for (int j = 0; j < p.count; j++) {
            const param *q = &p.list[j];
            hf_piece pieces[3];
            int n = hf_pieces(pieces, &c, q);
            assert_in_range(n, 1, 3);
            i64 next = 0;
            for (int k = 0; k < n; k++) {
                assert_int_equal(pieces[k].first_row, next);
                assert_true(pieces[k].rows > 0);
                next += pieces[k].rows;
                assert_true(strlen(pieces[k].name) < sizeof pieces[k].name - 1);
                memcpy(names[count++], pieces[k].name, sizeof *names);
                parameters += pieces[k].rows * (q->rows > 1 ? q->cols : 1);
            }
            assert_int_equal(next, q->rows > 1 ? q->rows : q->cols);
        }
        assert_int_equal(parameters, p.parameters);
        qsort(names, (size_t)count, sizeof *names, by_name);
        for (int j = 1; j < count; j++)
            if (strcmp(names[j - 1], names[j]) == 0) fail_msg("%s: two tensors are called %s", c.name, names[j]);
        free(names);
        param_table_free(&p);
    }
}

typedef struct {
    const char *name;
    i64 shape[2]; /* as transformers stores it; [n,0] a vector */
} tensor;

/* the tensors of a model of one layer, as transformers' save_pretrained writes them, in our order */
static void check_names(const model_config *c, const tensor *expected, int expected_count) {
    param_table p;
    OK(param_table_init(&p, c, 1));
    int count = 0;
    for (int j = 0; j < p.count; j++) {
        hf_piece pieces[3];
        int n = hf_pieces(pieces, c, &p.list[j]);
        for (int k = 0; k < n; k++, count++) {
            assert_true(count < expected_count);
            const tensor *e = &expected[count];
            assert_string_equal(pieces[k].name, e->name);
            i64 rows = pieces[k].rows, cols = p.list[j].rows > 1 ? p.list[j].cols : 0;
            assert_int_equal(pieces[k].transposed ? cols : rows, e->shape[0]);
            assert_int_equal(pieces[k].transposed ? rows : cols, e->shape[1]);
        }
    }
    assert_int_equal(count, expected_count);
    param_table_free(&p);
}
#define CHECK_NAMES(c, expected) check_names(c, expected, (int)(sizeof expected / sizeof *expected))

static model_config tiny(architecture arch) {
    model_config c = {.L = 1, .C = 32, .H = 2, .K = 1, .D = 32, .F = 48, .V = 64, .context = 16, .init_std = 0.02};
    presets_apply_architecture(&c, arch);
    return c;
}

static void test_gpt2_names(void **state) {
    (void)state;
    const tensor expected[] = {
        {"transformer.wte.weight", {64, 32}},
        {"transformer.wpe.weight", {16, 32}},
        {"transformer.h.0.ln_1.weight", {32, 0}},
        {"transformer.h.0.ln_1.bias", {32, 0}},
        {"transformer.h.0.attn.c_attn.weight", {32, 96}},
        {"transformer.h.0.attn.c_attn.bias", {96, 0}},
        {"transformer.h.0.attn.c_proj.weight", {32, 32}},
        {"transformer.h.0.attn.c_proj.bias", {32, 0}},
        {"transformer.h.0.ln_2.weight", {32, 0}},
        {"transformer.h.0.ln_2.bias", {32, 0}},
        {"transformer.h.0.mlp.c_fc.weight", {32, 48}},
        {"transformer.h.0.mlp.c_fc.bias", {48, 0}},
        {"transformer.h.0.mlp.c_proj.weight", {48, 32}},
        {"transformer.h.0.mlp.c_proj.bias", {32, 0}},
        {"transformer.ln_f.weight", {32, 0}},
        {"transformer.ln_f.bias", {32, 0}},
        {"lm_head.weight", {64, 32}},
    };
    model_config c = tiny(ARCH_GPT2);
    c.K = 2, c.D = 16;
    CHECK_NAMES(&c, expected);
    c.tied = true;
    check_names(&c, expected, (int)(sizeof expected / sizeof *expected) - 1);
}

static void test_qwen_names(void **state) {
    (void)state;
    const tensor qwen2[] = {
        {"model.embed_tokens.weight", {64, 32}},
        {"model.layers.0.input_layernorm.weight", {32, 0}},
        {"model.layers.0.self_attn.q_proj.weight", {64, 32}},
        {"model.layers.0.self_attn.k_proj.weight", {32, 32}},
        {"model.layers.0.self_attn.v_proj.weight", {32, 32}},
        {"model.layers.0.self_attn.q_proj.bias", {64, 0}},
        {"model.layers.0.self_attn.k_proj.bias", {32, 0}},
        {"model.layers.0.self_attn.v_proj.bias", {32, 0}},
        {"model.layers.0.self_attn.o_proj.weight", {32, 64}},
        {"model.layers.0.post_attention_layernorm.weight", {32, 0}},
        {"model.layers.0.mlp.gate_proj.weight", {48, 32}},
        {"model.layers.0.mlp.up_proj.weight", {48, 32}},
        {"model.layers.0.mlp.down_proj.weight", {32, 48}},
        {"model.norm.weight", {32, 0}},
        {"lm_head.weight", {64, 32}},
    };
    const tensor qwen3[] = {
        {"model.embed_tokens.weight", {64, 32}},
        {"model.layers.0.input_layernorm.weight", {32, 0}},
        {"model.layers.0.self_attn.q_proj.weight", {64, 32}},
        {"model.layers.0.self_attn.k_proj.weight", {32, 32}},
        {"model.layers.0.self_attn.v_proj.weight", {32, 32}},
        {"model.layers.0.self_attn.q_norm.weight", {32, 0}},
        {"model.layers.0.self_attn.k_norm.weight", {32, 0}},
        {"model.layers.0.self_attn.o_proj.weight", {32, 64}},
        {"model.layers.0.post_attention_layernorm.weight", {32, 0}},
        {"model.layers.0.mlp.gate_proj.weight", {48, 32}},
        {"model.layers.0.mlp.up_proj.weight", {48, 32}},
        {"model.layers.0.mlp.down_proj.weight", {32, 48}},
        {"model.norm.weight", {32, 0}},
    };
    model_config c = tiny(ARCH_QWEN2);
    CHECK_NAMES(&c, qwen2);
    c = tiny(ARCH_QWEN3);
    c.tied = true;
    CHECK_NAMES(&c, qwen3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_cover_every_preset_once),
        cmocka_unit_test(test_gpt2_names),
        cmocka_unit_test(test_qwen_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
