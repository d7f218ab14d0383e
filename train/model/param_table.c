#include "train/model/param_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static status add(param_table *p, int u, i64 *used, int layer, param_kind kind, i64 rows, i64 cols, float std,
                  float value) {
    param *grown = realloc(p->list, (size_t)(p->count + 1) * sizeof *grown);
    if (!grown) FAIL(MEM, "no memory for %d entries of the parameter table", p->count + 1);
    p->list = grown;
    i64 offset = p->units[u].offset + unit_place(used, rows * cols);
    p->index[u * P_KINDS + kind] = p->count;
    p->list[p->count++] = (param){.kind = kind,
                                  .unit = u,
                                  .layer = layer,
                                  .offset = offset,
                                  .serial = offset - p->units[u].offset + p->serial_size,
                                  .rows = rows,
                                  .cols = cols,
                                  .decay = rows > 1,
                                  .init_std = std,
                                  .init_value = value};
    p->parameters += rows * cols;
    return STATUS_OK;
}

static status add_block(param_table *p, const model_config *c, int u, i64 *used) {
    i64 q = c->H * c->D, k = c->K * c->D;
    int l = u - 1;
    float std = (float)c->init_std, residual_std = (float)(c->init_std / sqrt(2.0 * (double)c->L));
    TRY(add(p, u, used, l, P_NORM1_G, 1, c->C, 0, 1));
    if (c->layer_norm) TRY(add(p, u, used, l, P_NORM1_B, 1, c->C, 0, 0));
    TRY(add(p, u, used, l, P_QKV_W, q + 2 * k, c->C, std, 0));
    if (c->qkv_bias) TRY(add(p, u, used, l, P_QKV_B, 1, q + 2 * k, 0, 0));
    if (c->qk_norm) {
        TRY(add(p, u, used, l, P_QNORM_G, 1, c->D, 0, 1));
        TRY(add(p, u, used, l, P_KNORM_G, 1, c->D, 0, 1));
    }
    TRY(add(p, u, used, l, P_ATTN_W, c->C, q, residual_std, 0));
    if (c->attn_bias) TRY(add(p, u, used, l, P_ATTN_B, 1, c->C, 0, 0));
    TRY(add(p, u, used, l, P_NORM2_G, 1, c->C, 0, 1));
    if (c->layer_norm) TRY(add(p, u, used, l, P_NORM2_B, 1, c->C, 0, 0));
    i64 up = c->swiglu ? 2 * c->F : c->F;
    TRY(add(p, u, used, l, P_UP_W, up, c->C, std, 0));
    if (c->mlp_bias) TRY(add(p, u, used, l, P_UP_B, 1, up, 0, 0));
    TRY(add(p, u, used, l, P_DOWN_W, c->C, c->F, residual_std, 0));
    if (c->mlp_bias) TRY(add(p, u, used, l, P_DOWN_B, 1, c->C, 0, 0));
    return STATUS_OK;
}

status param_table_init(param_table *p, const model_config *c, int ranks) {
    *p = (param_table){.unit_count = (int)c->L + 2};
    size_t units = (size_t)p->unit_count;
    p->units = calloc(units, sizeof *p->units);
    p->index = malloc(units * P_KINDS * sizeof *p->index);
    status_code st = STATUS_OK;
    if (!p->units || !p->index) FAIL_DONE(MEM, "no memory for %zu units of the parameter table", units);
    for (size_t i = 0; i < units * P_KINDS; i++) p->index[i] = -1;
    float std = (float)c->init_std;
    for (int u = 0; u < p->unit_count; u++) {
        i64 used = 0;
        p->units[u].offset = p->size;
        if (u == 0) {
            TRY_DONE(add(p, u, &used, -1, P_WTE, c->V, c->C, std, 0));
            if (c->learned_positions) TRY_DONE(add(p, u, &used, -1, P_WPE, c->context, c->C, std, 0));
        } else if (u <= c->L) {
            TRY_DONE(add_block(p, c, u, &used));
        } else {
            TRY_DONE(add(p, u, &used, -1, P_NORM_G, 1, c->C, 0, 1));
            if (c->layer_norm) TRY_DONE(add(p, u, &used, -1, P_NORM_B, 1, c->C, 0, 0));
            if (!c->tied) TRY_DONE(add(p, u, &used, -1, P_HEAD_W, c->V, c->C, std, 0));
        }
        p->units[u].size = unit_padded_size(used, ranks);
        p->size += p->units[u].size;
        p->serial_size += unit_padded_size(used, 1);
    }
done:
    if (st) param_table_free(p);
    return st;
}

void param_table_free(param_table *p) {
    free(p->list);
    free(p->units);
    free(p->index);
    *p = (param_table){0};
}

const param *param_table_find(const param_table *p, int u, param_kind kind) {
    i64 i = p->index[u * P_KINDS + kind];
    return i < 0 ? NULL : &p->list[i];
}

param_name param_table_name(const param *q) {
    static const char *const names[P_KINDS] = {
        [P_WTE] = "wte",
        [P_WPE] = "wpe",
        [P_NORM1_G] = "norm1.weight",
        [P_NORM1_B] = "norm1.bias",
        [P_QKV_W] = "qkv.weight",
        [P_QKV_B] = "qkv.bias",
        [P_QNORM_G] = "q_norm.weight",
        [P_KNORM_G] = "k_norm.weight",
        [P_ATTN_W] = "attn.weight",
        [P_ATTN_B] = "attn.bias",
        [P_NORM2_G] = "norm2.weight",
        [P_NORM2_B] = "norm2.bias",
        [P_UP_W] = "up.weight",
        [P_UP_B] = "up.bias",
        [P_DOWN_W] = "down.weight",
        [P_DOWN_B] = "down.bias",
        [P_NORM_G] = "norm.weight",
        [P_NORM_B] = "norm.bias",
        [P_HEAD_W] = "head.weight",
    };
    param_name n;
    if (q->layer < 0) snprintf(n.text, sizeof n.text, "%s", names[q->kind]);
    else snprintf(n.text, sizeof n.text, "h.%d.%s", q->layer, names[q->kind]);
    return n;
}
