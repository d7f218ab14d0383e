/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11): a pure function of key and counter. Any
 * device, thread or rank can compute any element's number without state. For C and CUDA C. */
#ifndef TALLY_PHILOX_H
#define TALLY_PHILOX_H

#include <stdint.h>

#ifdef __CUDACC__
#define PHILOX_INLINE static __host__ __device__ __forceinline__
#else
#define PHILOX_INLINE                                                                                                  \
    static inline __attribute__((always_inline)) /* inherits the instruction set of the calling clone */
#endif

typedef struct {
    uint32_t v[4];
} philox_block;

PHILOX_INLINE philox_block philox(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)counter_low, c1 = (uint32_t)(counter_low >> 32);
    uint32_t c2 = (uint32_t)counter_high, c3 = (uint32_t)(counter_high >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c0 = n0, c1 = (uint32_t)p1, c2 = n2, c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    philox_block b = {{c0, c1, c2, c3}};
    return b;
}

/* streams, in counter_high: different uses never share numbers */
enum { RNG_INIT = 1, RNG_ORDER = 2, RNG_ROUND = 3, RNG_SAMPLE = 4, RNG_WINDOWS = 5 };

/* The number of an element that is rounded: part of the counter, so that all three get independent random bits. */
enum { ROUND_WEIGHT, ROUND_M, ROUND_V };

PHILOX_INLINE uint64_t philox_round_stream(uint64_t update, uint64_t which) {
    return update << 16 | which << 8 | RNG_ROUND;
}

#endif
