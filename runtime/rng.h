/* Random numbers that are a pure function of (seed, stream, index): see philox.h. */
#ifndef TALLY_RNG_H
#define TALLY_RNG_H

#include "runtime/philox.h"
#include "runtime/tensor.h"

double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* [0,1), 53 bits */
uint64_t rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound);
/* Box-Muller; in parallel. first: index of x[0] */
void rng_normal(float *x, i64 n, float std, uint64_t seed, uint64_t stream, uint64_t first);

#endif
