#include "runtime/kernel.cuh"

extern "C" {
#include "layers/linear.h"
}

/* The rows are cut into pieces. A block sums 32 x W columns of one piece; its warps take the rows in turn. A second kernel
 * adds the pieces' sums in order. The number of pieces depends on the shape alone, so results are bitwise repeatable. */
enum { WARPS = 8, THREADS = 32 * WARPS, LEAST_ROWS = 64, MOST_PIECES = 256 };

template <class T, int W> static __global__ void sum_rows_kernel(float *sums, const T *dy, i64 N, i64 O, i64 rows) {
    SHARED(float, part, [WARPS][32 * W]);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    i64 first = (i64)blockIdx.x * 32 * W, column = first + lane * W;
    i64 from = blockIdx.y * rows, to = from + rows < N ? from + rows : N;
    float sum[W] = {0}, v[W];
    if (column < O)
        for (i64 n = from + warp; n < to; n += WARPS) {
            load(v, dy + n * O + column);
#pragma unroll
            for (int k = 0; k < W; k++) sum[k] += v[k];
        }
#pragma unroll
    for (int k = 0; k < W; k++) part[warp][lane * W + k] = sum[k];
    __syncthreads();
    for (int i = threadIdx.x; i < 32 * W && first + i < O; i += THREADS) {
        float total = 0;
        for (int w = 0; w < WARPS; w++) total += part[w][i];
        sums[blockIdx.y * O + first + i] = total;
    }
}

static __global__ void add_pieces_kernel(float *db, const float *sums, i64 O, int pieces, bool accumulate) {
    i64 o = (i64)blockIdx.x * THREADS + threadIdx.x;
    if (o >= O) return;
    float total = 0;
    for (int p = 0; p < pieces; p++) total += sums[p * O + o];
    db[o] = accumulate ? db[o] + total : total;
}

template <class T, int W>
static status sum_rows(device *dev, float *sums, const T *dy, i64 N, i64 O, i64 rows, int pieces) {
    dim3 grid((unsigned)ceil_div(O, 32 * W), (unsigned)pieces);
    RUN(dev, (sum_rows_kernel<T, W>), grid, THREADS, 0, sums, dy, N, O, rows);
    return STATUS_OK;
}

extern "C" status linear_bias_backward_cuda(device *dev, dtype t, const void *dy, const linear *l, i64 N) {
    const i64 O = l->O;
    i64 most = CUDA_SCRATCH_BYTES / (4 * O);
    if (most > MOST_PIECES) most = MOST_PIECES;
    if (most < 1) most = 1; /* cuda_scratch then fails with the size */
    i64 rows = ceil_div(N, most);
    if (rows < LEAST_ROWS) rows = LEAST_ROWS;
    int pieces = (int)ceil_div(N, rows);
    void *sums;
    TRY(cuda_scratch(dev, &sums, (size_t)(pieces * O) * sizeof(float)));
    if (fits_16(t, dy, O))
        WITH_TYPE(t, T, TRY((sum_rows<T, lanes<T>::all>(dev, (float *)sums, (const T *)dy, N, O, rows, pieces))));
    else WITH_TYPE(t, T, TRY((sum_rows<T, 1>(dev, (float *)sums, (const T *)dy, N, O, rows, pieces))));
    RUN(dev, add_pieces_kernel, (unsigned)ceil_div(O, THREADS), THREADS, 0, l->db, (const float *)sums, O, pieces,
        l->accumulate);
    return STATUS_OK;
}
