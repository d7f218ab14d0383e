/* Shared by the CPU kernels. A kernel is an OpenMP loop over rows that calls a SIMD_CLONES row function: the compiler makes a
 * clone of it for each instruction set and the loader picks one at start, so that the default build runs on any x86-64-v2
 * and is fast on AVX2 and AVX-512. (The loop itself is not cloned: GCC does not clone OpenMP's outlined bodies.) Rows are
 * widened to f32 in a small buffer, computed there, and rounded once when stored. */
#ifndef TALLY_SIMD_H
#define TALLY_SIMD_H

#include "runtime/tensor.h"

#ifdef TALLY_TARGET_CLONES /* set by CMake if the compiler supports it and no sanitizer is on */
#define SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SIMD_CLONES
#endif

enum { SIMD_CHUNK = 1024 }; /* elements that an elementwise kernel widens at a time: 4 KiB, fits in L1 */

/* forced inline, so that they take the instruction set of the clone that calls them */
#define SIMD_INLINE static inline __attribute__((always_inline))

SIMD_INLINE i64 simd_chunk(i64 left) { return left < SIMD_CHUNK ? left : SIMD_CHUNK; }

/* Columns per thread in sums over rows: whole cache lines of f32, so that threads share none. */
SIMD_INLINE i64 simd_columns(i64 C, i64 threads) {
    i64 even = (C + threads - 1) / threads;
    return simd_chunk((even + 15) / 16 * 16);
}

SIMD_INLINE void simd_load_f32(float *restrict y, const void *restrict x, dtype t, i64 n) {
    if (t == F32) {
        memcpy(y, x, (size_t)n * 4);
        return;
    }
    const bf16 *b = x;
    uint32_t *restrict bits = (uint32_t *)(void *)y;
    for (i64 i = 0; i < n; i++) bits[i] = (uint32_t)b[i] << 16;
}

/* The upper half of x's bits plus `add`: to nearest even with 0x7fff + its last kept bit (that is bf16_from_f32, in a
 * form that vectorises better), stochastically with 16 random bits. NaN stays NaN. */
SIMD_INLINE bf16 simd_bf16_by_adding(float x, uint32_t add) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (bf16)((x == x ? bits + add : bits | 0x400000u) >> 16);
}

SIMD_INLINE void simd_store_f32(void *restrict y, const float *restrict x, dtype t, i64 n) {
    if (t == F32) {
        memcpy(y, x, (size_t)n * 4);
        return;
    }
    bf16 *restrict b = y;
    for (i64 i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        b[i] = simd_bf16_by_adding(x[i], 0x7fffu + ((bits >> 16) & 1u));
    }
}

/* n values of x as f32: x itself where it is f32, else widened into `buffer` */
SIMD_INLINE const float *simd_view_f32(float *restrict buffer, const void *x, dtype t, i64 n) {
    if (t == F32) return x;
    simd_load_f32(buffer, x, t, n);
    return buffer;
}

/* exp(x) to 2 ulp; 0 where the result would be below the least normal number, inf above the largest; NaN stays NaN.
 * exp(x) = 2^n exp(r), |r| <= ln2/2: Cody-Waite reduction, degree-6 polynomial (minimax; Cephes' expf coefficients). */
SIMD_INLINE float simd_expf(float x) {
    const float least = -87.33654f, most = 88.72283f;       /* just inside log(FLT_MIN) and log(FLT_MAX) */
    float shifted = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: n, rounded, is now in the lowest bits */
    float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f;
    r -= n * -2.12194440e-4f;
    /* pairs instead of Horner: a shorter dependency chain */
    float r2 = r * r;
    float low = 1.6666665459e-1f * r + 5.0000001201e-1f;
    float middle = 8.3334519073e-3f * r + 4.1665795894e-2f;
    float high = 1.9875691500e-4f * r + 1.3981999507e-3f;
    float p = ((high * r2 + middle) * r2 + low) * r2 + (r + 1.0f);
    /* times 2^n, by adding n to p's exponent: inside [least, most] the sum is that of a normal number */
    uint32_t exponent, bits;
    memcpy(&exponent, &shifted, 4);
    memcpy(&bits, &p, 4);
    bits += exponent << 23;
    float y;
    memcpy(&y, &bits, 4);
    y = x < least ? 0.0f : y;
    return x <= most ? y : x + __builtin_inff(); /* inf, or the NaN that x is */
}

#endif
