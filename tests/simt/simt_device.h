/* What kernels call: barriers, warp operations, atomics, loads, arithmetic. Included by simt.h. */
#ifndef TALLY_SIMT_DEVICE_H
#define TALLY_SIMT_DEVICE_H

#include <type_traits>

#include "simt_core.h"

constexpr int warpSize = 32;

/* --- barriers --- */

inline void __syncthreads(SIMT_SITE) { simt::barrier(file, line); }

inline int __syncthreads_count(int p, SIMT_SITE) {
    int result[3];
    simt::barrier(file, line, p != 0, result);
    return result[0];
}

inline int __syncthreads_or(int p, SIMT_SITE) {
    int result[3];
    simt::barrier(file, line, p != 0, result);
    return result[1];
}

inline int __syncthreads_and(int p, SIMT_SITE) {
    int result[3];
    simt::barrier(file, line, p != 0, result);
    return result[2];
}

inline void __syncwarp(unsigned mask = ~0u, SIMT_SITE) {
    simt::LaneOp op;
    op.p = simt::self->warp;
    simt::warp_op(
        mask, op,
        [](simt::LaneOp **o, unsigned m) { /* only a whole warp's orders memory in racecheck */
                                           simt::Warp *w = (simt::Warp *)o[__builtin_ctz(m)]->p;
                                           if (m == w->live) w->epoch++;
        },
        "__syncwarp", file, line);
}

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) { simt::yield(); }
inline void __trap() { simt::fail("__trap()"); }

/* --- warps --- */

namespace simt {

template <class T> inline uint64_t bits(T v) {
    static_assert(sizeof(T) <= 8, "shuffle type");
    uint64_t u = 0;
    memcpy(&u, &v, sizeof(T));
    return u;
}

template <class T> inline T unbits(uint64_t u) {
    T v;
    memcpy(&v, &u, sizeof(T));
    return v;
}

inline void shuffle_lanes(LaneOp **o, unsigned m) {
    for (unsigned left = m; left; left &= left - 1) {
        LaneOp *mine = o[__builtin_ctz(left)];
        mine->out = m >> mine->a & 1 ? o[mine->a]->in : ~0ull; /* of a lane that is not there: NaN */
    }
}

template <class T> inline T shuffle(unsigned mask, T v, int from, const char *what, const char *file, int line) {
    LaneOp op;
    op.in = bits(v);
    op.a = from;
    warp_op(mask, op, shuffle_lanes, what, file, line);
    return unbits<T>(op.out);
}

template <class T, class R> inline T reduce(unsigned mask, T v, R, const char *what, const char *file, int line) {
    LaneOp op;
    op.in = bits(v);
    warp_op(
        mask, op,
        [](LaneOp **o, unsigned m) {
            T a = unbits<T>(o[__builtin_ctz(m)]->in);
            for (unsigned left = m & (m - 1); left; left &= left - 1)
                a = R::f(a, unbits<T>(o[__builtin_ctz(left)]->in));
            for (unsigned left = m; left; left &= left - 1) o[__builtin_ctz(left)]->out = bits(a);
        },
        what, file, line);
    return unbits<T>(op.out);
}

struct Add {
    template <class T> static T f(T a, T b) { return a + b; }
};
struct Min {
    template <class T> static T f(T a, T b) { return a < b ? a : b; }
};
struct Max {
    template <class T> static T f(T a, T b) { return a > b ? a : b; }
};
struct And {
    template <class T> static T f(T a, T b) { return a & b; }
};
struct Or {
    template <class T> static T f(T a, T b) { return a | b; }
};

} // namespace simt

template <class T> inline T __shfl_sync(unsigned mask, T v, int from, int width = 32, SIMT_SITE) {
    int lane = simt::self->lane;
    return simt::shuffle(mask, v, (lane & ~(width - 1)) | (from & (width - 1)), "__shfl_sync", file, line);
}

template <class T> inline T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32, SIMT_SITE) {
    int lane = simt::self->lane, from = lane ^ x, end = (lane & ~(width - 1)) + width;
    return simt::shuffle(mask, v, from >= end ? lane : from, "__shfl_xor_sync", file, line);
}

template <class T> inline T __shfl_down_sync(unsigned mask, T v, unsigned d, int width = 32, SIMT_SITE) {
    int lane = simt::self->lane, from = lane + (int)d;
    return simt::shuffle(mask, v, (lane & (width - 1)) + (int)d >= width ? lane : from, "__shfl_down_sync", file, line);
}

template <class T> inline T __shfl_up_sync(unsigned mask, T v, unsigned d, int width = 32, SIMT_SITE) {
    int lane = simt::self->lane, from = lane - (int)d;
    return simt::shuffle(mask, v, (lane & (width - 1)) < (int)d ? lane : from, "__shfl_up_sync", file, line);
}

inline unsigned __ballot_sync(unsigned mask, int p, SIMT_SITE) {
    return simt::reduce(mask, p ? 1u << simt::self->lane : 0u, simt::Or(), "__ballot_sync", file, line);
}
inline int __any_sync(unsigned mask, int p, SIMT_SITE) {
    return simt::reduce(mask, (unsigned)!!p, simt::Or(), "__any_sync", file, line);
}
inline int __all_sync(unsigned mask, int p, SIMT_SITE) {
    return simt::reduce(mask, (unsigned)!!p, simt::And(), "__all_sync", file, line);
}

#define SIMT_REDUCTION(name, Op)                                                                                       \
    inline unsigned name(unsigned mask, unsigned v, SIMT_SITE) {                                                       \
        return simt::reduce(mask, v, simt::Op(), #name, file, line);                                                   \
    }                                                                                                                  \
    inline int name(unsigned mask, int v, SIMT_SITE) { return simt::reduce(mask, v, simt::Op(), #name, file, line); }
SIMT_REDUCTION(__reduce_add_sync, Add)
SIMT_REDUCTION(__reduce_min_sync, Min)
SIMT_REDUCTION(__reduce_max_sync, Max)

template <class T> inline unsigned __match_any_sync(unsigned mask, T v, SIMT_SITE) {
    simt::LaneOp op;
    op.in = simt::bits(v);
    simt::warp_op(
        mask, op,
        [](simt::LaneOp **o, unsigned m) {
            for (unsigned left = m; left; left &= left - 1) {
                simt::LaneOp *mine = o[__builtin_ctz(left)];
                mine->out = 0;
                for (unsigned other = m; other; other &= other - 1)
                    if (o[__builtin_ctz(other)]->in == mine->in) mine->out |= other & -other;
            }
        },
        "__match_any_sync", file, line);
    return (unsigned)op.out;
}

/* --- atomics --- */

namespace simt {
template <class T, class F> inline T update(T *p, F f) {
    typedef typename std::conditional<sizeof(T) == 8, uint64_t, uint32_t>::type U;
    static_assert(sizeof(T) == sizeof(U), "atomics are of 4 or 8 bytes");
    U old = __atomic_load_n((U *)p, __ATOMIC_RELAXED), next;
    T was, value;
    do {
        memcpy(&was, &old, sizeof was);
        value = f(was);
        memcpy(&next, &value, sizeof next);
    } while (!__atomic_compare_exchange_n((U *)p, &old, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return was;
}
} // namespace simt

/* a sum of floats in the order of arrival has other bits every run: the house has none */
template <class T, class V> inline T atomicAdd(T *p, V v) {
    static_assert(std::is_integral<T>::value, "atomicAdd of floats");
    return simt::update(p, [=](T old) { return T(old + T(v)); });
}
template <class T, class V> inline T atomicMax(T *p, V v) {
    return simt::update(p, [=](T old) { return old > T(v) ? old : T(v); });
}
template <class T, class V> inline T atomicMin(T *p, V v) {
    return simt::update(p, [=](T old) { return old < T(v) ? old : T(v); });
}
template <class T, class V> inline T atomicOr(T *p, V v) {
    return simt::update(p, [=](T old) { return T(old | T(v)); });
}
template <class T, class V> inline T atomicAnd(T *p, V v) {
    return simt::update(p, [=](T old) { return T(old & T(v)); });
}
template <class T, class V> inline T atomicExch(T *p, V v) {
    return simt::update(p, [=](T) { return T(v); });
}
template <class T> inline T atomicCAS(T *p, T expected, T v) {
    return simt::update(p, [=](T old) { return old == expected ? v : old; });
}
inline unsigned atomicInc(unsigned *p, unsigned limit) {
    return simt::update(p, [=](unsigned old) { return old >= limit ? 0u : old + 1; });
}

/* --- loads and stores with a cache policy --- */

template <class T> inline T __ldg(const T *p) { return *p; }
template <class T> inline T __ldcs(const T *p) { return *p; }
template <class T> inline T __ldcg(const T *p) { return *p; }
template <class T> inline T __ldca(const T *p) { return *p; }
template <class T> inline void __stcs(T *p, T v) { *p = v; }
template <class T> inline void __stcg(T *p, T v) { *p = v; }

/* --- arithmetic --- */

inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { /* never part of an fma */
    volatile float product = a * b;
    return product;
}

inline unsigned __float_as_uint(float f) { return (unsigned)simt::bits(f); }
inline int __float_as_int(float f) { return (int)simt::bits(f); }
inline float __uint_as_float(unsigned u) { return simt::unbits<float>(u); }
inline float __int_as_float(int u) { return simt::unbits<float>((unsigned)u); }
inline long long __double_as_longlong(double d) { return (long long)simt::bits(d); }
inline double __longlong_as_double(long long u) { return simt::unbits<double>((uint64_t)u); }
inline int __float2int_rn(float f) { return (int)nearbyintf(f); }

inline int __popc(unsigned u) { return __builtin_popcount(u); }
inline int __clz(int u) { return u ? __builtin_clz((unsigned)u) : 32; }
inline int __ffs(int u) { return __builtin_ffs(u); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }

template <class A, class B> constexpr typename std::common_type<A, B>::type min(A a, B b) {
    typedef typename std::common_type<A, B>::type C;
    return (C)b < (C)a ? (C)b : (C)a;
}
template <class A, class B> constexpr typename std::common_type<A, B>::type max(A a, B b) {
    typedef typename std::common_type<A, B>::type C;
    return (C)a < (C)b ? (C)b : (C)a;
}

/* --- what the toolkit's C++ headers add to the C API --- */

template <class R, class... P> inline cudaError_t cudaFuncSetAttribute(R (*f)(P...), cudaFuncAttribute a, int v) {
    return cudaFuncSetAttribute((const void *)f, a, v);
}

#endif
