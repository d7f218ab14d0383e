/* A permutation of 0 .. count-1 that needs no table, so that the windows of a corpus of any size can be shuffled. A Feistel
 * network permutes the numbers below the next power of two (Luby and Rackoff, "How to construct pseudorandom permutations from
 * pseudorandom functions", 1988); where it leads to one that is too large it is applied again, until the result is below count
 * (cycle walking: Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). That takes less than two rounds on average. */
#ifndef TALLY_ORDER_H
#define TALLY_ORDER_H

#include "runtime/tensor.h"

/* with 8, the neighbours of 5 numbers were not independent (tests/test_order.c) */
enum { ORDER_ROUNDS = 16 };

typedef struct {
    i64 count;
    int low_bits, high_bits; /* of a number; together the bits of count - 1 */
    uint64_t keys[ORDER_ROUNDS];
} order;

/* count: 1 to 2^62. The permutation depends on all arguments. */
order order_init(i64 count, uint64_t seed, uint64_t source, uint64_t epoch);
i64 order_at(const order *o, i64 i); /* i: 0 .. count-1 */

#endif
