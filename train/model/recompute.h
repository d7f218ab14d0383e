/* Which activations forward does not keep, so that backward computes them again from a block's input. What each policy keeps
 * and shares stands in block.h, what it costs in cost.h. */
#ifndef TALLY_RECOMPUTE_H
#define TALLY_RECOMPUTE_H

#include "runtime/status.h"
#include "runtime/tensor.h"

typedef enum { RECOMPUTE_NONE, RECOMPUTE_SELECTIVE, RECOMPUTE_BLOCK } recompute_kind;
typedef struct {
    recompute_kind kind;
    i64 blocks; /* RECOMPUTE_BLOCK: the first so many blocks; L for all */
} recompute_policy;

recompute_kind recompute_of_block(recompute_policy r, i64 layer);

/* --recompute's none, selective, block or block:K, of a model of L blocks. ARG with text for anything else. */
status recompute_parse(recompute_policy *r, const char *text, i64 L);

#endif
