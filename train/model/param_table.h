/* The parameter table of a model: every tensor's name, unit, offset, shape, initial value, and whether weight decay applies.
 *
 * unit 0: embedding [wte, wpe]; units 1..L: blocks; unit L+1: final norm (and the head where not tied).
 * Matrices are [out,in]. q, k, v are one matrix [q+2k, C], and SwiGLU's gate and up one [2F, C] (gate first): one GEMM
 * each. Hugging Face stores the parts of such a matrix as tensors of their own (hf.h). */
#ifndef TALLY_PARAM_TABLE_H
#define TALLY_PARAM_TABLE_H

#include "parallel/unit.h"
#include "train/model/model_config.h"

typedef enum {
    P_WTE,
    P_WPE,
    P_NORM1_G,
    P_NORM1_B,
    P_QKV_W,
    P_QKV_B,
    P_QNORM_G,
    P_KNORM_G,
    P_ATTN_W,
    P_ATTN_B,
    P_NORM2_G,
    P_NORM2_B,
    P_UP_W,
    P_UP_B,
    P_DOWN_W,
    P_DOWN_B,
    P_NORM_G,
    P_NORM_B,
    P_HEAD_W,
    P_KINDS
} param_kind;

typedef struct {
    param_kind kind;
    int unit;
    int layer;  /* 0..L-1, -1 outside blocks */
    i64 offset; /* elements, in the concatenation of all units */
    i64 serial; /* offset when units are padded for one rank: the key of its random numbers, equal on any number of ranks */
    i64 rows, cols; /* a vector has rows 1 */
    bool decay;     /* matrices only */
    float init_std; /* 0: filled with init_value */
    float init_value;
} param;

typedef struct {
    param *list;
    int count;
    unit *units;
    int unit_count;
    i64 size;        /* elements of all units, padding included */
    i64 serial_size; /* the same when units are padded for one rank */
    i64 parameters;  /* without padding */
    i64 *index;      /* [unit_count][P_KINDS]: position in list, -1 where absent */
} param_table;

/* ranks: how many pieces each unit is padded for (unit.h) */
status param_table_init(param_table *p, const model_config *c, int ranks);
void param_table_free(param_table *p);
const param *param_table_find(const param_table *p, int u, param_kind kind); /* NULL where the model has none */

typedef struct {
    char text[64];
} param_name;
param_name param_table_name(const param *q); /* in optimizer.safetensors: "wte", "h.3.qkv.weight" */

#endif
