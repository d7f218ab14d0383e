/* Vector types and bf16 as kernels know them: the toolkit's own in the build that checks our headers against it. */
#ifndef TALLY_SIMT_TYPES_H
#define TALLY_SIMT_TYPES_H

#include <cmath>
#include <cstdint>
#include <cstring>

#include "simt_rt.h"

namespace simt {

inline uint16_t f2bf(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return (u & 0x7fffffff) > 0x7f800000 ? 0x7fff : (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

inline float bf2f(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* f16, which only libraries' stand-ins know: rounded to nearest even, with subnormals */
inline uint16_t f2h(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    uint32_t sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) return 0x7fff;
    if (a >= 0x477ff000) return sign | 0x7c00;
    if (a < 0x38800000) {
        float t = fabsf(f) + 0.5f;
        memcpy(&a, &t, 4);
        return sign | (a - 0x3f000000);
    }
    return sign | ((a + 0xc8000fff + (a >> 13 & 1)) >> 13);
}

inline float h2f(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff, u;
    float f = (float)m * 5.9604644775390625e-8f;
    memcpy(&u, &f, 4);
    u = sign | (e == 0 ? u : (e == 31 ? 0x7f800000 : (e + 112) << 23) | m << 13);
    memcpy(&f, &u, 4);
    return f;
}

} // namespace simt

#ifdef SIMT_REAL_HEADERS
#include <cuda_bf16.h>
#else

#define SIMT_VECTOR(T, n, align2, align4)                                                                              \
    struct n##1 {                                                                                                      \
        T x;                                                                                                           \
    };                                                                                                                 \
    struct alignas(align2) n##2 {                                                                                      \
        T x, y;                                                                                                        \
    };                                                                                                                 \
    struct n##3 {                                                                                                      \
        T x, y, z;                                                                                                     \
    };                                                                                                                 \
    struct alignas(align4) n##4 {                                                                                      \
        T x, y, z, w;                                                                                                  \
    };                                                                                                                 \
    static inline n##2 make_##n##2(T x, T y) { return {x, y}; }                                                        \
    static inline n##3 make_##n##3(T x, T y, T z) { return {x, y, z}; }                                                \
    static inline n##4 make_##n##4(T x, T y, T z, T w) { return {x, y, z, w}; }
SIMT_VECTOR(float, float, 8, 16)
SIMT_VECTOR(double, double, 16, 16)
SIMT_VECTOR(int, int, 8, 16)
SIMT_VECTOR(unsigned, uint, 8, 16)
SIMT_VECTOR(unsigned short, ushort, 4, 8)
SIMT_VECTOR(unsigned long long, ulonglong, 16, 16)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct __nv_bfloat16 {
    unsigned short __x;
    __nv_bfloat16() = default;
    __nv_bfloat16(float f) : __x(simt::f2bf(f)) {}
    operator float() const { return simt::bf2f(__x); }
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16(float f) { return f; }
inline __nv_bfloat16 __float2bfloat16_rn(float f) { return f; }
inline float __bfloat162float(__nv_bfloat16 b) { return b; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b) { return b.__x; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short u) {
    __nv_bfloat16 b;
    b.__x = u;
    return b;
}
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return {a, b}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 a) { return {a.x, a.y}; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return {a, b}; }
inline float2 __bfloat1622float2(__nv_bfloat162 a) { return {a.x, a.y}; }
inline float __low2float(__nv_bfloat162 a) { return a.x; }
inline float __high2float(__nv_bfloat162 a) { return a.y; }

#endif
#endif
