#include "train/data/token_list.h"

#include <stdlib.h>

enum { SMALLEST = 64 };

status token_list_reserve(token_list *l, i64 more) {
    if (l->capacity - l->count >= more) return STATUS_OK;
    i64 capacity = l->capacity ? l->capacity : SMALLEST;
    while (capacity - l->count < more) capacity *= 2;
    int32_t *larger = realloc(l->ids, (size_t)capacity * sizeof *larger);
    if (!larger) FAIL(MEM, "no memory for %ld tokens", capacity);
    l->ids = larger;
    l->capacity = capacity;
    return STATUS_OK;
}

void token_list_free(token_list *l) {
    free(l->ids);
    *l = (token_list){0};
}
