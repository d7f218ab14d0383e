#include "runtime/kernel.cuh"

extern "C" {
#include "optim/gradnorm.h"
}

enum { BLOCK = 65536, THREADS = 512, WARPS = THREADS / 32 };

/* sum over a block of THREADS, in a fixed order; the first thread gets it */
DEVICE_INLINE double add_up(double x) {
    SHARED(double, part, [WARPS]);
    for (int step = 16; step; step >>= 1) x += __shfl_xor_sync(~0u, x, step);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    double total = 0;
    for (int w = 0; w < WARPS; w++) total += part[w];
    return total;
}

/* sums[b] = sum of squares of the b-th 65,536 elements */
template <int W> static __global__ void sum_squares_kernel(double *sums, const float *x, i64 n) {
    const float *from = x + (i64)blockIdx.x * BLOCK;
    i64 left = n - (i64)blockIdx.x * BLOCK;
    int count = left < BLOCK ? (int)left : BLOCK, whole = count / W * W;
    double sum = 0;
    float v[W];
    for (int i = threadIdx.x * W; i < whole; i += THREADS * W) {
        load(v, from + i);
#pragma unroll
        for (int k = 0; k < W; k++) sum += (double)v[k] * (double)v[k];
    }
    int last = whole + threadIdx.x;
    if (last < count) sum += (double)from[last] * (double)from[last];
    sum = add_up(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

static __global__ void add_blocks_kernel(double *sum, const double *sums, i64 blocks) {
    double mine = 0;
    for (i64 b = threadIdx.x; b < blocks; b += THREADS) mine += sums[b];
    mine = add_up(mine);
    if (threadIdx.x == 0) *sum += mine;
}

extern "C" status gradnorm_sum_squares_cuda(device *dev, double *sum, const float *x, i64 n, void *scratch) {
    double *sums = (double *)scratch;
    i64 blocks = ceil_div(n, BLOCK);
    if ((uintptr_t)x % 16 == 0) RUN(dev, (sum_squares_kernel<4>), (unsigned)blocks, THREADS, 0, sums, x, n);
    else RUN(dev, (sum_squares_kernel<1>), (unsigned)blocks, THREADS, 0, sums, x, n);
    RUN(dev, add_blocks_kernel, 1, THREADS, 0, sum, (const double *)sums, blocks);
    return STATUS_OK;
}
