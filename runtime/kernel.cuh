/* Every kernel file (NAME.cu) includes this: kernel launches, 16-byte accesses, sums over warps and blocks.
 *
 * The same .cu files are compiled by nvcc for the GPU and by g++ for the emulation of tests/simt. So use RUN instead of <<<>>>,
 * SHARED (aligned to at least 16 bytes) and DYN_SHARED for shared memory, PTX only in headers with a second body for the
 * emulation, and no __CUDA_ARCH__. */
#ifndef TALLY_KERNEL_CUH
#define TALLY_KERNEL_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>

extern "C" {
#include "runtime/cuda.h"
}

#ifdef __CUDACC__
#define LAUNCH(kernel, grid, block, bytes, stream, ...) kernel<<<grid, block, bytes, stream>>>(__VA_ARGS__)
#define SHARED(type, name, dims) __shared__ __align__(16) type name dims
#define DYN_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]
#endif

/* Launches on the device's stream; put templates in parentheses. bytes: dynamic shared memory; more than 48 KiB only after
 * CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes)). */
#define RUN(dev, kernel, grid, block, bytes, ...)                                                                      \
    do {                                                                                                               \
        LAUNCH(kernel, grid, block, bytes, cuda_stream(dev), __VA_ARGS__);                                             \
        CUDA_TRY(cudaGetLastError());                                                                                  \
    } while (0)

/* runs the statements with T the element type of t */
#define WITH_TYPE(t, T, ...)                                                                                           \
    do {                                                                                                               \
        if ((t) == F32) {                                                                                              \
            using T = float;                                                                                           \
            __VA_ARGS__;                                                                                               \
        } else {                                                                                                       \
            using T = bf16;                                                                                            \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

#define DEVICE_INLINE static __device__ __forceinline__

/* --- elements: a bf16 is its 16 bits, as on the host --- */

DEVICE_INLINE float to_f32(float x) { return x; }
DEVICE_INLINE float to_f32(bf16 x) { return __uint_as_float((unsigned)x << 16); }
DEVICE_INLINE void from_f32(float *y, float x) { *y = x; }
DEVICE_INLINE void from_f32(bf16 *y, float x) { *y = __bfloat16_as_ushort(__float2bfloat16_rn(x)); }

/* --- W elements at an address aligned to their size, at most to 16 bytes. W is normally 16 bytes' worth; 1 where rows are not
 * aligned --- */

template <class T> struct lanes {
    enum { all = 16 / sizeof(T) };
};

template <class T, int W> struct __align__(sizeof(T) * W) pack { T v[W]; };

template <int W, class T> DEVICE_INLINE void load(float (&y)[W], const T *x) {
    enum { piece = W < lanes<T>::all ? W : lanes<T>::all };
#pragma unroll
    for (int i = 0; i < W; i += piece) {
        const pack<T, piece> p = *(const pack<T, piece> *)(x + i);
#pragma unroll
        for (int k = 0; k < piece; k++) y[i + k] = to_f32(p.v[k]);
    }
}

template <int W, class T> DEVICE_INLINE void store(T *y, const float (&x)[W]) {
    enum { piece = W < lanes<T>::all ? W : lanes<T>::all };
#pragma unroll
    for (int i = 0; i < W; i += piece) {
        pack<T, piece> p;
#pragma unroll
        for (int k = 0; k < piece; k++) from_f32(&p.v[k], x[i + k]);
        *(pack<T, piece> *)(y + i) = p;
    }
}

/* whether pointers and counts (in elements of t) all allow accesses of 16 bytes */
static inline bool fits_16(dtype t, const void *p, i64 count) {
    return (uintptr_t)p % 16 == 0 && (size_t)count * dtype_bytes(t) % 16 == 0;
}

/* --- sums --- */

DEVICE_INLINE float warp_sum(float x) {
#pragma unroll
    for (int step = 16; step; step >>= 1) x += __shfl_xor_sync(~0u, x, step);
    return x;
}

DEVICE_INLINE float warp_max(float x) {
#pragma unroll
    for (int step = 16; step; step >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
    return x;
}

/* over a block of whole warps, in a fixed order; every thread gets the result */
DEVICE_INLINE float block_sum(float x) {
    SHARED(float, part, [32]);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = warp_sum(x);
    __syncthreads(); /* part may still be in use by the previous sum */
    if (lane == 0) part[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? part[lane] : 0.0f);
}

static inline i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }

/* Threads of a block that goes through `items` in passes, one item per thread and pass: whole warps, at most `most`, passes of
 * equal length. */
static inline unsigned even_threads(i64 items, i64 most) {
    return (unsigned)(ceil_div(ceil_div(items, ceil_div(items, most)), 32) * 32);
}

#endif
