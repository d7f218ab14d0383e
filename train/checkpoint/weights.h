/* Weights to and from safetensors with Hugging Face's names (hf.h), so that transformers loads what tally saves and the other way
 * round. GPT-2's matrices are transposed. weights_write and weights_read are collective over the ranks of the parameters. */
#ifndef TALLY_WEIGHTS_H
#define TALLY_WEIGHTS_H

#include "train/checkpoint/blockfile.h"
#include "train/checkpoint/tensor_set.h"
#include "train/model/parameters.h"

/* One rank writes model.safetensors. Several ranks write n = min(ranks, units) files model-0000I-of-0000N.safetensors: rank
 * u % n writes unit u and never holds more than one unit; on a rank that writes none, sums->name is "". A rank that cannot write
 * still takes part in every collective, and then fails. NUMERIC if a weight is not finite. */
status weights_write(parameters *s, const model_config *c, const char *folder, blockfile_sums *sums);
/* Host memory that weights_write takes on a rank, at most. */
size_t weights_write_bytes(const param_table *all, const model_config *c);
/* The text of model.safetensors.index.json for the files of several ranks; malloc'ed. */
status weights_index(char **text, const parameters *s, const model_config *c);
/* One rank that holds all weights: files of up to most_bytes of weights each; a larger tensor gets a file of its own. *index: the
 * text of model.safetensors.index.json, malloc'ed; NULL where there is one file, which is then model.safetensors. */
status weights_export(parameters *s, const model_config *c, const char *folder, i64 most_bytes, char **index);

/* path: see tensor_set_open_model. Converts F32, BF16 or F16 to the dtype of the parameters; master weights, if any, get the value of
 * the file. Each rank reads what it owns. The files must hold every parameter in its shape, and no other tensor but buffers of
 * the hub's files (rotary_emb.inv_freq, GPT-2's masks) and, for a tied model, an lm_head.weight equal to the embedding. A prefix
 * "_orig_mod." or "module." of all names is ignored. An error on one rank fails on all. */
status weights_read(parameters *s, const model_config *c, const char *path);

#endif
