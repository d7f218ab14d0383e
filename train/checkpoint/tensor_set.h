/* The tensors of one or of several safetensors files, found by name. Files are mapped: of the data only what is looked
 * at is read. */
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
    path_text path; /* for messages: the file, or what names the files */
    safetensors *files;
    int file_count;
    tensor_ref *list; /* in the order of names */
    int count;
} tensor_set;

/* path: what messages about all of them name. A tensor in two files: DATA. */
status tensor_set_open(tensor_set *s, path_text path, const path_text *files, int count);
/* A model as Hugging Face stores it: a .safetensors file, a ...index.json that names several ("weight_map": tensor to
 * file; none outside its folder), or a folder with model.safetensors or model.safetensors.index.json, the former where
 * both are there. What the index promises is checked; that every tensor of a file is in the index is not. */
status tensor_set_open_model(tensor_set *s, const char *path);
bool tensor_set_model_in(const char *folder); /* whether either of the two is there */
void tensor_set_close(tensor_set *s);

const tensor_ref *tensor_set_find(const tensor_set *s, const char *name); /* NULL where there is none */
int tensor_set_from(const tensor_set *s,
                    const char *name); /* position in list of the first that does not come before */
static inline const void *tensor_set_data(const tensor_ref *r) { return safetensors_data(r->file, r->tensor); }

#endif
