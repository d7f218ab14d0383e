/* The keys of sliding windows in a Hugging Face config.json: "sliding_window", "use_sliding_window", "max_window_layers" and
 * "layer_types", as transformers 5.24 reads them for each family. Mistral: all layers have the window (by default 4096; null:
 * none). Qwen2 and Qwen3: with "use_sliding_window", the layers from "max_window_layers" (28) on, or those that "layer_types"
 * names. Llama has none. */
#ifndef TALLY_WINDOW_KEYS_H
#define TALLY_WINDOW_KEYS_H

#include "train/model/model_config.h"

/* Sets c->window and c->full_layers. DATA where a value has another type, or two keys contradict each other. */
status window_keys_read(model_config *c, const json_t *json, const char *path);
void window_keys_write(json_t *json, const model_config *c);

#endif
