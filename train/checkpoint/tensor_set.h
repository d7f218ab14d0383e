/* The tensors of one or several safetensors files, found by name. The files are mapped, so only the data that is used is read. */
#ifndef TALLY_TENSOR_SET_H
#define TALLY_TENSOR_SET_H

#include <stdbool.h>

#include "runtime/path.h"
#include "runtime/status.h"
#include "train/checkpoint/safetensors.h"

typedef struct {
    const safetensors *file;
    const safetensor *tensor;
} tensor_ref;

typedef struct {
    path_text path; /* for messages: the file, or the index or pattern of the files */
    safetensors *files;
    int file_count;
    tensor_ref *list; /* sorted by name */
    int count;
} tensor_set;

/* path: names the files in messages. DATA if a tensor is in two files. */
status tensor_set_open(tensor_set *s, path_text path, const path_text *files, int count);
/* A model as Hugging Face stores it. path: a .safetensors file; a ...index.json whose "weight_map" has the file of each tensor, in
 * the same folder; or a folder with model.safetensors or, failing that, model.safetensors.index.json. Every tensor of the index
 * must be in its file; a file may hold others. */
status tensor_set_open_model(tensor_set *s, const char *path);
bool tensor_set_model_in(const char *folder); /* whether the folder has one of the two */
void tensor_set_close(tensor_set *s);

const tensor_ref *tensor_set_find(const tensor_set *s, const char *name); /* NULL: none */
int tensor_set_from(const tensor_set *s,
                    const char *name); /* index in list of the first that is not sorted before `name` */
static inline const void *tensor_set_data(const tensor_ref *r) { return safetensors_data(r->file, r->tensor); }

#endif
