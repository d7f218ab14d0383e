/* The keys of a Hugging Face config.json that are not sizes. Some change the computation: they must have the value that this
 * program implements. Some have no effect on it. The rest are unknown. */
#ifndef TALLY_MODEL_KEYS_H
#define TALLY_MODEL_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"

typedef struct json_t json_t;

/* a value as the file has it, for a message */
typedef struct {
    char text[64];
} shown_value;
shown_value model_keys_show(const json_t *item); /* "missing" for NULL */

typedef struct {
    const char *path;
    const char *model_type;
    bool gpt2; /* else of the Llama family */
} keys_of;

/* DATA, with the key's name, where a value asks for a computation that this program does not implement. */
status model_keys_check(const json_t *json, const keys_of *of);

/* Texts for the log, "" where there is nothing to report: dropout above 0, as "attn_pdrop 0.1, resid_pdrop 0.1"; and the
 * keys that are unknown and for which is_size is false, as "\"a\", \"b\"". */
void model_keys_dropout(char *text, size_t room, const json_t *json);
void model_keys_unknown(char *text, size_t room, json_t *json, const keys_of *of,
                        bool (*is_size)(const keys_of *of, const char *key));

#endif
