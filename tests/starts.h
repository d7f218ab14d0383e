/* Starts of documents (runtime/tokens.h) for tests of attention, positions and whole models. */
#ifndef TALLY_STARTS_H
#define TALLY_STARTS_H

#include "tests/check.h"

/* [B,T]; the caller frees it. Documents of some `document` tokens: ends are drawn, so that they fall anywhere in tiles and differ
 * from row to row. Now and then one token is a document. */
static inline int32_t *starts_draw(i64 B, i64 T, i64 document) {
    int32_t *starts = malloc((size_t)(B * T) * 4);
    assert_non_null(starts);
    for (i64 n = 0; n < B * T; n++) {
        bool begins = n % T == 0 || !rng_below(7, 55, (uint64_t)n, (uint64_t)document) || n % 37 < 2;
        starts[n] = begins ? (int32_t)(n % T) : starts[n - 1];
    }
    return starts;
}

#endif
