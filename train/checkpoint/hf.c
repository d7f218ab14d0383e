#include "train/checkpoint/hf.h"

#include <stdio.h>

/* Names after the prefix: "transformer.h.N." or "model.layers.N." in a block, "transformer." or "model." outside; the head has
 * none. For q/k/v and gate/up of the Llama family, split() has the part before ".weight" or ".bias". */
static const char *const names[P_KINDS][2] = {
    [P_WTE] = {"wte.weight", "embed_tokens.weight"},
    [P_WPE] = {"wpe.weight", "embed_positions.weight"},
    [P_NORM1_G] = {"ln_1.weight", "input_layernorm.weight"},
    [P_NORM1_B] = {"ln_1.bias", "input_layernorm.bias"},
    [P_QKV_W] = {"attn.c_attn.weight", "weight"},
    [P_QKV_B] = {"attn.c_attn.bias", "bias"},
    [P_QNORM_G] = {"attn.q_norm.weight", "self_attn.q_norm.weight"},
    [P_KNORM_G] = {"attn.k_norm.weight", "self_attn.k_norm.weight"},
    [P_ATTN_W] = {"attn.c_proj.weight", "self_attn.o_proj.weight"},
    [P_ATTN_B] = {"attn.c_proj.bias", "self_attn.o_proj.bias"},
    [P_NORM2_G] = {"ln_2.weight", "post_attention_layernorm.weight"},
    [P_NORM2_B] = {"ln_2.bias", "post_attention_layernorm.bias"},
    [P_UP_W] = {"mlp.c_fc.weight", "weight"},
    [P_UP_B] = {"mlp.c_fc.bias", "bias"},
    [P_DOWN_W] = {"mlp.c_proj.weight", "mlp.down_proj.weight"},
    [P_DOWN_B] = {"mlp.c_proj.bias", "mlp.down_proj.bias"},
    [P_NORM_G] = {"ln_f.weight", "norm.weight"},
    [P_NORM_B] = {"ln_f.bias", "norm.bias"},
    [P_HEAD_W] = {"lm_head.weight", "lm_head.weight"},
};

/* the matrices in a block of GPT-2 */
static bool is_conv1d(param_kind kind) {
    return kind == P_QKV_W || kind == P_ATTN_W || kind == P_UP_W || kind == P_DOWN_W;
}

/* Names and numbers of rows of the pieces of a q/k/v or gate/up parameter. */
static int split(const char *part[3], i64 rows[3], const model_config *c, param_kind kind) {
    if (kind == P_QKV_W || kind == P_QKV_B) {
        part[0] = "self_attn.q_proj", part[1] = "self_attn.k_proj", part[2] = "self_attn.v_proj";
        rows[0] = c->H * c->D, rows[1] = rows[2] = c->K * c->D;
        return 3;
    }
    bool gate = c->swiglu;
    if (gate) part[0] = "mlp.gate_proj", rows[0] = c->F;
    part[gate] = "mlp.up_proj", rows[gate] = c->F;
    return 1 + gate;
}

int hf_pieces(hf_piece pieces[3], const model_config *c, const param *p) {
    bool gpt2 = c->arch == ARCH_GPT2;
    char prefix[32] = "";
    if (p->layer >= 0) snprintf(prefix, sizeof prefix, gpt2 ? "transformer.h.%d." : "model.layers.%d.", p->layer);
    else if (p->kind != P_HEAD_W) snprintf(prefix, sizeof prefix, gpt2 ? "transformer." : "model.");
    const char *name = names[p->kind][!gpt2];
    if (gpt2 || (p->kind != P_QKV_W && p->kind != P_QKV_B && p->kind != P_UP_W && p->kind != P_UP_B)) {
        pieces[0] = (hf_piece){.rows = p->rows > 1 ? p->rows : p->cols, .transposed = gpt2 && is_conv1d(p->kind)};
        snprintf(pieces[0].name, sizeof pieces[0].name, "%s%s", prefix, name);
        return 1;
    }
    const char *part[3];
    i64 rows[3], first = 0;
    int count = split(part, rows, c, p->kind);
    for (int i = 0; i < count; i++) {
        pieces[i] = (hf_piece){.first_row = first, .rows = rows[i]};
        snprintf(pieces[i].name, sizeof pieces[i].name, "%s%s.%s", prefix, part[i], name);
        first += rows[i];
    }
    return count;
}
