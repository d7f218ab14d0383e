/* What the CPU kernels share. A kernel is an OpenMP loop over rows that calls a SIMD_CLONES row function: the compiler
 * makes a clone of it for each instruction set and the loader picks one at start, so that the default build runs on any
 * x86-64-v2 and is fast on AVX2 and AVX-512. (The loop itself is not cloned: GCC does not clone OpenMP's outlined
 * bodies.) Rows of either dtype are widened to f32 in a small buffer, computed on, and rounded once on the way out. */
#ifndef TALLY_SIMD_H
#define TALLY_SIMD_H

#include "runtime/tensor.h"

#ifdef TALLY_TARGET_CLONES /* set by CMake where the compiler has it and no sanitizer is on */
#define SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SIMD_CLONES
#endif

enum { SIMD_CHUNK = 1024 }; /* elements of a row that an elementwise kernel widens at a time: 4 KiB, stays in L1 */

/* forced inline, so that they take the instruction set of the clone that calls them */
#define SIMD_INLINE static inline __attribute__((always_inline))

SIMD_INLINE void load_f32(float *restrict y, const void *restrict x, dtype t, i64 n) {
    if (t == F32) {
        memcpy(y, x, (size_t)n * 4);
        return;
    }
    const bf16 *b = x;
    uint32_t *restrict bits = (uint32_t *)(void *)y;
    for (i64 i = 0; i < n; i++) bits[i] = (uint32_t)b[i] << 16;
}

SIMD_INLINE void store_f32(void *restrict y, const float *restrict x, dtype t, i64 n) {
    if (t == F32) {
        memcpy(y, x, (size_t)n * 4);
        return;
    }
    bf16 *restrict b = y;
    for (i64 i = 0; i < n; i++) b[i] = bf16_from_f32(x[i]);
}

/* exp(x) to 2 ulp for x in [-87, 88], 0 below, inf above; NaN stays NaN. exp(x) = 2^n * exp(r), |r| <= ln2/2, Cody-Waite
 * reduction and a degree-6 polynomial (minimax; Cephes' expf coefficients). */
SIMD_INLINE float simd_expf(float x) {
    float n = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: rounds to nearest integer */
    n -= 12582912.0f;
    float r = x - n * 0.693359375f;
    r -= n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    /* 2^n in two halves, so that n = 128 does not overflow the exponent field before the multiplication */
    float m = n < -126.0f ? -126.0f : n > 128.0f ? 128.0f : n;
    int32_t half = (int32_t)m / 2, rest = (int32_t)m - half;
    uint32_t a = (uint32_t)(half + 127) << 23, b = (uint32_t)(rest + 127) << 23;
    float s, t;
    memcpy(&s, &a, 4);
    memcpy(&t, &b, 4);
    float y = p * s * t;
    y = x < -87.33654f ? 0.0f : y;
    y = x > 88.72283f ? __builtin_inff() : y;
    return x != x ? x : y;
}

/* tanh(x) = 1 - 2 / (1 + exp(2x)): absolute error below 2 ulp of 1, which is what GELU needs */
SIMD_INLINE float simd_tanhf(float x) { return 1.0f - 2.0f / (1.0f + simd_expf(2.0f * x)); }

#endif
