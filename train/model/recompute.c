#include "train/model/recompute.h"

#include <stdio.h>
#include <string.h>

recompute_kind recompute_of_block(recompute_policy r, i64 layer) {
    return r.kind == RECOMPUTE_BLOCK && layer >= r.blocks ? RECOMPUTE_NONE : r.kind;
}

status recompute_parse(recompute_policy *r, const char *text, i64 L) {
    long blocks;
    char rest;
    if (strcmp(text, "none") == 0) *r = (recompute_policy){RECOMPUTE_NONE, 0};
    else if (strcmp(text, "selective") == 0) *r = (recompute_policy){RECOMPUTE_SELECTIVE, L};
    else if (strcmp(text, "block") == 0) *r = (recompute_policy){RECOMPUTE_BLOCK, L};
    else if (sscanf(text, "block:%ld%c", &blocks, &rest) == 1 && blocks >= 0 && blocks <= L)
        *r = (recompute_policy){RECOMPUTE_BLOCK, blocks};
    else FAIL(ARG, "--recompute %s: expected none, selective, block or block:K with K from 0 to %ld", text, L);
    return STATUS_OK;
}
