/* The safetensors format (Hugging Face): 8 bytes of little-endian header length, a JSON header {name: {dtype, shape,
 * data_offsets}}, then the data. Supports F32, BF16 and F16;
 * tensors of BOOL and U8 are listed, but not read. The format requires no alignment. A file is checked before it is used: header length, JSON, dtype, shape
 * against offsets, offsets in the file without gaps and overlaps. */
#ifndef TALLY_SAFETENSORS_H
#define TALLY_SAFETENSORS_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct {
    char name[128];
    dtype type;
    int dims; /* 0: a scalar */
    i64 shape[4];
    i64 offset, bytes; /* in the data section */
    bool mask; /* of dtype BOOL or U8, a byte an element: its type is not meant, and its data is not to be read */
} safetensor;

typedef struct {
    char path[4096];
    safetensor *list; /* in the order of the data */
    int count;
    const void *data; /* the data section, mapped read-only; a tensor may be at any address */
    void *map;
    size_t map_bytes;
} safetensors;

status safetensors_open(safetensors *s, const char *path);
void safetensors_close(safetensors *s);
const safetensor *safetensors_find(const safetensors *s, const char *name); /* NULL: none */
static inline const void *safetensors_data(const safetensors *s, const safetensor *t) {
    return (const char *)s->data + t->offset;
}

/* values: elements [first, first + count) of the tensor, which must hold them */
void safetensors_widen(float *values, const safetensors *s, const safetensor *t, i64 first, i64 count);

/* The tensor's pages leave memory until they are read again. A model is read tensor by tensor: with this, memory holds one of
 * them beside what is made of it. */
void safetensors_release(const safetensors *s, const safetensor *t);

/* Makes the header of a file to write. The caller sets name, type, dims and shape of every tensor; this sets offset and bytes. The
 * data must follow the header in the order of the list. *header: malloc'ed, with the 8 bytes of length, padded with spaces to a
 * multiple of 8. metadata: key, value, key, value, ..., NULL; or NULL for none. transformers needs {"format", "pt", NULL}. */
status safetensors_layout(safetensor *list, int count, const char *const *metadata, char **header,
                          size_t *header_bytes);

#endif
