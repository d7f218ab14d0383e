/* Weights to and from safetensors under Hugging Face's names (hf.h), so that transformers loads what tally saves and
 * the other way round. GPT-2's matrices are transposed on the way. All ranks of the state call these together. */
#ifndef TALLY_WEIGHTS_H
#define TALLY_WEIGHTS_H

#include "train/checkpoint/blockfile.h"
#include "train/checkpoint/tensor_set.h"
#include "train/model/parameters.h"

/* Alone: model.safetensors. Several ranks: n = min(ranks, units) files model-0000I-of-0000N.safetensors, each written
 * by one rank, of unit u that of rank u % n, without ever holding more than a unit; where this rank writes none,
 * sums->name is "". A rank that cannot write takes part to the end and fails then.
 * NUMERIC where a weight is not finite: such weights are not written. */
status weights_write(parameters *s, const model_config *c, const char *folder, blockfile_sums *sums);
/* The text of model.safetensors.index.json for those of several ranks; malloc'ed. */
status weights_index(char **text, const parameters *s, const model_config *c);

/* path: what tensor_set_open_model takes. F32 or BF16 as the files have them, converted to the state's dtype; the
 * master (where there is one) gets the file's value. Each rank reads what it owns. Every parameter must be there in
 * its shape, and nothing else but buffers that files of the hub hold (rotary_emb.inv_freq, GPT-2's masks) and a tied
 * model's lm_head.weight, the same as its embedding. "_orig_mod." and "module." before all names are passed over. What
 * fails on one rank fails on all. */
status weights_read(parameters *s, const model_config *c, const char *path);

#endif
