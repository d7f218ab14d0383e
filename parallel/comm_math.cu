#include "runtime/kernel.cuh"

extern "C" {
#include "parallel/comm_math_cuda.h"
}

enum { THREADS = 256, WIDE = 8 };

/* on the stream of the collectives, not the device's; W elements a thread */
#define RUN_ON(stream, kernel, W, rows, count, ...)                                                                    \
    do {                                                                                                               \
        dim3 grid((unsigned)ceil_div(count, THREADS *(W)), (unsigned)(rows));                                          \
        LAUNCH(kernel, grid, THREADS, 0, stream, __VA_ARGS__, count);                                                  \
        CUDA_TRY(cudaGetLastError());                                                                                  \
        return STATUS_OK;                                                                                              \
    } while (0)

DEVICE_INLINE i64 first_element(int width) { return ((i64)blockIdx.x * THREADS + threadIdx.x) * width; }

template <class To, class From, int W>
static __global__ void convert_kernel(To *to, i64 to_row, const From *from, i64 from_row, i64 count) {
    i64 i = first_element(W);
    if (i >= count) return;
    float v[W];
    load(v, from + blockIdx.y * from_row + i);
    store(to + blockIdx.y * to_row + i, v);
}

template <int W>
static __global__ void sum_kernel(float *to, const bf16 *from, i64 from_row, int rows, bool accumulate, i64 count) {
    i64 i = first_element(W);
    if (i >= count) return;
    float sum[W], v[W];
    load(sum, from + i);
    for (int r = 1; r < rows; r++) {
        load(v, from + r * from_row + i);
#pragma unroll
        for (int k = 0; k < W; k++) sum[k] += v[k];
    }
    if (accumulate) {
        load(v, to + i);
#pragma unroll
        for (int k = 0; k < W; k++) sum[k] = v[k] + sum[k];
    }
    store(to + i, sum);
}

template <int W> static __global__ void add_kernel(float *to, const float *from, i64 count) {
    i64 i = first_element(W);
    if (i >= count) return;
    float a[W], b[W];
    load(a, to + i);
    load(b, from + i);
#pragma unroll
    for (int k = 0; k < W; k++) a[k] += b[k];
    store(to + i, a);
}

/* rows at p may be taken 8 elements at a time */
static bool wide(dtype t, const void *p, i64 row, int rows, i64 count) {
    return count % WIDE == 0 && fits_16(t, p, rows > 1 ? row : (i64)WIDE);
}

template <class To, class From, int W>
static status convert(cudaStream_t stream, To *to, i64 to_row, const From *from, i64 from_row, int rows, i64 count) {
    RUN_ON(stream, (convert_kernel<To, From, W>), W, rows, count, to, to_row, from, from_row);
}

template <int W>
static status sum(cudaStream_t stream, float *to, const bf16 *from, i64 from_row, int rows, i64 count,
                  bool accumulate) {
    RUN_ON(stream, (sum_kernel<W>), W, 1, count, to, from, from_row, rows, accumulate);
}

template <int W> static status add(cudaStream_t stream, float *to, const float *from, i64 count) {
    RUN_ON(stream, (add_kernel<W>), W, 1, count, to, from);
}

extern "C" status comm_math_narrow_cuda(cudaStream_t stream, bf16 *to, i64 to_row, const float *from, i64 from_row,
                                        int rows, i64 count) {
    bool by_8 = wide(BF16, to, to_row, rows, count) && wide(F32, from, from_row, rows, count);
    if (!count) return STATUS_OK;
    return by_8 ? convert<bf16, float, WIDE>(stream, to, to_row, from, from_row, rows, count)
                : convert<bf16, float, 1>(stream, to, to_row, from, from_row, rows, count);
}

extern "C" status comm_math_widen_cuda(cudaStream_t stream, float *to, i64 to_row, const bf16 *from, i64 from_row,
                                       int rows, i64 count) {
    bool by_8 = wide(F32, to, to_row, rows, count) && wide(BF16, from, from_row, rows, count);
    if (!count) return STATUS_OK;
    return by_8 ? convert<float, bf16, WIDE>(stream, to, to_row, from, from_row, rows, count)
                : convert<float, bf16, 1>(stream, to, to_row, from, from_row, rows, count);
}

extern "C" status comm_math_sum_cuda(cudaStream_t stream, float *to, const bf16 *from, i64 from_row, int rows,
                                     i64 count, bool accumulate) {
    bool by_8 = wide(BF16, from, from_row, rows, count) && wide(F32, to, 0, 1, count);
    if (!count) return STATUS_OK;
    return by_8 ? sum<WIDE>(stream, to, from, from_row, rows, count, accumulate)
                : sum<1>(stream, to, from, from_row, rows, count, accumulate);
}

extern "C" status comm_math_add_cuda(cudaStream_t stream, float *to, const float *from, i64 count) {
    bool by_8 = wide(F32, to, 0, 1, count) && wide(F32, from, 0, 1, count);
    if (!count) return STATUS_OK;
    return by_8 ? add<WIDE>(stream, to, from, count) : add<1>(stream, to, from, count);
}
