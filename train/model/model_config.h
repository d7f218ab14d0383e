/* The shape of a model: one block with switches covers GPT-2 and the Llama family (Llama, SmolLM2, Mistral, Qwen2/2.5, Qwen3).
 * Presets hold published shapes; a Hugging Face config.json gives any other. */
#ifndef TALLY_MODEL_CONFIG_H
#define TALLY_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "layers/rope.h"

typedef struct json_t json_t;

typedef enum {
    ARCH_GPT2,
    ARCH_LLAMA,
    ARCH_QWEN2,
    ARCH_QWEN3,
    ARCH_MISTRAL
} architecture; /* decides Hugging Face's names only */

enum { MODEL_CONFIG_LISTED = 1024 }; /* layers that full_layers can name; those after them have the window */

typedef struct {
    char name[64]; /* preset, or the config file's path */
    architecture arch;
    i64 L, C, H, K, D, F, V;
    i64 context; /* longest sequence; rows of wpe where positions are learned */
    float norm_eps;
    bool layer_norm;        /* else RMS norm */
    bool learned_positions; /* else RoPE */
    bool swiglu;            /* else tanh GELU */
    bool qkv_bias;
    bool attn_bias; /* of attention's output */
    bool mlp_bias;  /* of the feed-forward */
    bool qk_norm;   /* RMS norm of every head of q and k before RoPE */
    bool tied;      /* the head is the embedding */
    i64 window; /* the most keys that a query sees, itself included, in the layers that are not in full_layers; 0: all */
    uint64_t full_layers[MODEL_CONFIG_LISTED / 64]; /* bit l: layer l sees all keys, whatever window is */
    rope_scaling rope;
    double init_std; /* of matrices: normal; those that write to the residual stream / sqrt(2L) */
    /* what model_config_log reports of a config.json; else "" */
    char dropout[160], unknown[256];
} model_config;

/* name_or_path: a preset, a path that ends in .json, or a folder that holds config.json. For an unknown name the error names
 * the nearest preset. */
status model_config_load(model_config *c, const char *name_or_path);
status model_config_from_json(model_config *c, json_t *json, const char *path); /* Hugging Face's keys */
/* A config.json that transformers loads. The caller frees it. */
json_t *model_config_to_json(const model_config *c);
/* Adds an object "shape" to o: layers, channels, ... ; window and layers_with_window where the model has them. */
status model_config_add_shape(json_t *o, const model_config *c);
/* Logs the keys of the config.json that are not known, which are ignored. trains: also logs dropout, which other trainers apply. */
void model_config_log(const model_config *c, bool trains);
/* DATA where a size, or a combination of sizes, is out of range. */
status model_config_check(const model_config *c);
void model_config_print_presets(FILE *out); /* one line per preset: name, parameters, shape */

i64 model_config_parameters(const model_config *c);
i64 model_config_window(const model_config *c, i64 layer); /* attention.h; 0: all keys */

#endif
