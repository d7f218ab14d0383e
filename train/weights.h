/* Weights to and from safetensors under Hugging Face's names (hf.h), so that transformers loads what tally saves and the
 * other way round. GPT-2's matrices are transposed on the way. */
#ifndef TALLY_WEIGHTS_H
#define TALLY_WEIGHTS_H

#include "train/blockfile.h"
#include "train/safetensors.h"
#include "train/state.h"

status weights_write(const state *s, const model_config *c, const char *folder, const char *file, blockfile_sums *sums);

/* F32 or BF16 as the file has them, converted to the state's dtype; the master (where there is one) gets the file's value.
 * Every parameter must be there in its shape, and nothing else (but lm_head.weight of a tied model). */
status weights_read(state *s, const model_config *c, const char *path);

#endif
