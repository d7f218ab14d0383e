#include "runtime/rng.h"

#include <math.h>

double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    philox_block b = philox(seed, index, stream);
    return (double)((((uint64_t)b.v[0] << 32) | b.v[1]) >> 11) * 0x1p-53;
}

uint64_t rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound) {
    philox_block b = philox(seed, index, stream);
    /* multiply-high of 64 random bits: the bias, bound / 2^64, is negligible */
    return (uint64_t)(((unsigned __int128)(((uint64_t)b.v[0] << 32) | b.v[1]) * bound) >> 64);
}

void rng_normal(float *x, i64 n, float std, uint64_t seed, uint64_t stream, uint64_t first) {
#pragma omp parallel for schedule(static)
    for (i64 i = 0; i < n; i += 2) {
        philox_block b = philox(seed, first + (uint64_t)i / 2, stream);
        double u = ((double)(((uint64_t)b.v[0] << 21) ^ (b.v[1] >> 11)) + 0.5) * 0x1p-53;
        double angle = 6.283185307179586 * ((double)b.v[2] * 0x1p-32);
        double r = sqrt(-2.0 * log(u)) * std;
        x[i] = (float)(r * cos(angle));
        if (i + 1 < n) x[i + 1] = (float)(r * sin(angle));
    }
}
