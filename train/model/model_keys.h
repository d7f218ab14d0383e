/* The keys of a Hugging Face config.json that are not sizes: which ones change the computation and must have the value that
 * this program computes, which ones have no effect on it, and which ones are not known. */
#ifndef TALLY_MODEL_KEYS_H
#define TALLY_MODEL_KEYS_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct json_t json_t;

/* what stands in the file, for a message */
typedef struct {
    char text[64];
} shown_value;
shown_value model_keys_show(const json_t *item); /* "missing" for NULL */

typedef struct {
    const char *path;
    const char *model_type;
    bool gpt2; /* else of the Llama family */
} keys_of;

/* Refuses, by its name, a key whose value means another computation. context: the model's. */
status model_keys_check(const json_t *json, const keys_of *of, i64 context);

/* For the log, "" where there are none: dropout above 0, as "attn_pdrop 0.1, resid_pdrop 0.1"; the keys that are neither
 * in `sizes` nor known here, as "\"a\", \"b\"". */
void model_keys_dropout(char *text, size_t room, const json_t *json);
void model_keys_unknown(char *text, size_t room, json_t *json, const keys_of *of,
                        bool (*is_size)(const keys_of *of, const char *key));

#endif
