/* Safetensors files made from tensors at hand. */
#ifndef TALLY_TENSOR_FILE_H
#define TALLY_TENSOR_FILE_H

#include "tests/check.h"
#include "train/checkpoint/safetensors.h"

/* list: name, type and shape of each tensor; data: its elements */
static inline void write_tensors(const char *path, safetensor *list, const void *const *data, int count) {
    char *header;
    size_t bytes;
    OK(safetensors_layout(list, count, NULL, &header, &bytes));
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(header, 1, bytes, f), bytes);
    for (int i = 0; i < count; i++)
        assert_int_equal(fwrite(data[i], 1, (size_t)list[i].bytes, f), (size_t)list[i].bytes);
    assert_int_equal(fclose(f), 0);
    free(header);
}

#endif
