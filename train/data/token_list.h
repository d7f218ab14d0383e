/* A list of token ids that grows. Initialise with zeros. */
#ifndef TALLY_TOKEN_LIST_H
#define TALLY_TOKEN_LIST_H

#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct {
    int32_t *ids;
    i64 count, capacity;
} token_list;

status token_list_reserve(token_list *l, i64 more); /* makes room for `more` ids behind `count` */
void token_list_free(token_list *l);                /* and initialises it with zeros again */

static inline status token_list_add(token_list *l, int32_t id) {
    if (l->count == l->capacity) TRY(token_list_reserve(l, 1));
    l->ids[l->count++] = id;
    return STATUS_OK;
}

#endif
