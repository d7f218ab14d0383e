/* Recomputation: which activations forward discards and backward computes again. block.h lists what each policy keeps, cost.h
 * what it costs. */
#ifndef TALLY_RECOMPUTE_H
#define TALLY_RECOMPUTE_H

#include "runtime/status.h"
#include "runtime/tensor.h"

typedef enum { RECOMPUTE_NONE, RECOMPUTE_SELECTIVE, RECOMPUTE_BLOCK } recompute_kind;
typedef struct {
    recompute_kind kind;
    i64 blocks; /* RECOMPUTE_BLOCK: how many blocks are recomputed, counted from the first */
} recompute_policy;

recompute_kind recompute_of_block(recompute_policy r, i64 layer);

/* Parses --recompute for a model of L blocks: none, selective, block or block:K. ARG for anything else. */
status recompute_parse(recompute_policy *r, const char *text, i64 L);

#endif
