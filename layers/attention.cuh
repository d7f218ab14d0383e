/* Shared by the CUDA kernels of attention: the entry points of the paths, and operations on tiles for the tensor cores. */
#ifndef TALLY_ATTENTION_CUH
#define TALLY_ATTENTION_CUH

#include "layers/mma.cuh"

extern "C" {
#include "layers/attention.h"
}

/* Statistics for the backward, [B,H,padded]: {lse * log2(e), sum_d o do} of each query. Padding rows hold {inf, 0}, which makes
 * their probabilities 0. */
__host__ __device__ static inline i64 attention_padded(const attention_shape &s) {
    return (s.Tq + ATTENTION_PADDING - 1) / ATTENTION_PADDING * ATTENTION_PADDING;
}

static inline bool attention_is_masked(const attention_shape &s) { return s.window || s.starts; }

/* low(b,i) of attention.h. Padding rows have that of the last query. */
DEVICE_INLINE int first_key(const attention_shape &s, i64 b, i64 i) {
    i = min(i, s.Tq - 1);
    const i64 low = s.window ? max(i + s.Tk - s.Tq - s.window + 1, (i64)0) : 0;
    return s.starts ? max((int)low, s.starts[b * s.Tq + i]) : (int)low;
}

/* the query after the last one that sees `key`, with Tq = Tk; by bisection, since low(b,i) does not decrease along a row */
DEVICE_INLINE int queries_end(const attention_shape &s, i64 b, i64 key) {
    i64 end = s.window ? min(s.Tq, key + s.window) : s.Tq, seen = key;
    while (s.starts && seen + 1 < end) {
        const i64 middle = (seen + end) / 2;
        if (s.starts[b * s.Tq + middle] > key) end = middle;
        else seen = middle;
    }
    return (int)end;
}

/* attention_forward.cu, attention_backward.cu: bf16 on tensor cores; D is 64, 96 or 128, rows aligned to 16 bytes */
status attention_forward_mma(device *dev, bf16 *o, float *lse, const bf16 *q, const bf16 *k, const bf16 *v,
                             attention_shape s);
status attention_backward_mma(device *dev, const attention_gradients *d, const attention_tensors *x,
                              const float2 *statistics, attention_shape s);

/* attention_general.cu: in f32, any D and stride */
status attention_forward_general(device *dev, dtype t, void *o, float *lse, const void *q, const void *k, const void *v,
                                 attention_shape s);
status attention_backward_general(device *dev, dtype t, const attention_gradients *d, const attention_tensors *x,
                                  const float2 *statistics, attention_shape s);

/* attention_few.cu: few queries against many keys, in f32, any D and stride */
bool attention_is_few(attention_shape s);
status attention_forward_few(device *dev, dtype t, void *o, float *lse, const void *q, const void *k, const void *v,
                             attention_shape s);

/* attention_cudnn.cu, in builds with cuDNN: Tq = Tk; an error if cuDNN does not take the arguments */
#ifdef TALLY_CUDNN
enum { HAVE_CUDNN = 1 };
#else
enum { HAVE_CUDNN = 0 };
#endif
status attention_choose_cudnn(device *dev, bool on);
bool attention_is_cudnn(const device *dev);
status attention_forward_cudnn(device *dev, dtype t, void *o, float *lse, const void *q, const void *k, const void *v,
                               attention_shape s);
status attention_backward_cudnn(device *dev, dtype t, const attention_gradients *d, const attention_tensors *x,
                                attention_shape s);

/* Lets a kernel use `bytes` of dynamic shared memory; an error if a block of this GPU may not. Compute capability 8.6, 8.9 and
 * 12.0 allow 99 KiB, others 163 or 227. */
template <class F> static status attention_shared(const device *dev, F *kernel, int bytes, i64 D) {
    const size_t most = cuda_of(dev)->shared_memory;
    if ((size_t)bytes > most)
        FAIL(ARG, "attention: head size %lld takes %d bytes of shared memory a block, expected at most the %zu of %s",
             (long long)D, bytes, most, dev->name);
    CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    return STATUS_OK;
}

enum { MOST_IN_GRID = 65535 }; /* along y and z */

#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

/* --- tiles of bf16 [rows, D] in shared memory, for blocks of MMA_THREADS --- */

enum { MMA_WARPS = 4, MMA_THREADS = 32 * MMA_WARPS };

/* Swizzle: chunks of 16 bytes are permuted within their row. ldmatrix reads one column of chunks over eight rows; permuted, it
 * covers all banks. (Rows of 128 and 256 bytes all start in one bank, rows of 192 bytes in two.) The permutation is among SPAN
 * chunks. */
template <int D> struct swizzle {
    enum { SPAN = D % 64 ? 4 : 8 };
    __device__ __forceinline__ static int tensor_at(int row, int chunk) { /* in elements */
        return row * D + (chunk ^ (D % 64 ? row / 2 % 4 : row % 8)) * 8;
    }
    /* the place 2 k chunks to the right of `from`, which is in chunk 0 or 1; one instruction for a constant k */
    __device__ __forceinline__ static int right(int from, int k) {
        return (from ^ k * 16 % (SPAN * 8)) + k * 16 / (SPAN * 8) * (SPAN * 8);
    }
};

/* copies rows of stride ld; rows from `valid` on become zero */
template <int D, int ROWS> DEVICE_INLINE void load_tile(bf16 *tile, const bf16 *x, i64 ld, int valid) {
    constexpr int LANES = swizzle<D>::SPAN, PASS = MMA_THREADS / LANES; /* rows at once */
    static_assert(ROWS % PASS == 0, "whole passes");
    int row = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    bf16 *to = tile + swizzle<D>::tensor_at(row, lane);
    const bf16 *from = x + row * ld + lane * 8;
#pragma unroll
    for (int n = 0; n < ROWS; n += PASS) {
#pragma unroll
        for (int c = 0; c < D; c += 8 * LANES) cp_async_16(to + n * D + c, from + c, row + n < valid);
        from += PASS * ld;
    }
}

/* loads columns 16 k to 16 k + 15 of M strips of 16 rows as operands a */
template <int D, int M> DEVICE_INLINE void load_strips(unsigned (&a)[M][4], bf16 *tile, int k) {
    int lane = threadIdx.x % 32, from = swizzle<D>::tensor_at(lane % 16, lane / 16);
    forget(from);
#pragma unroll
    for (int m = 0; m < M; m++) ldmatrix_x4(a[m], tile + swizzle<D>::right(from, k) + m * 16 * D);
}

/* c [16 M, 8 N] += a b^T over the columns 16 k to 16 k + 15, b a tile [8 N, D] */
template <int D, int M, int N>
DEVICE_INLINE void multiply_by_rows(float (&c)[M][N][4], const unsigned (&a)[M][4], bf16 *b, int k) {
    int lane = threadIdx.x % 32, from = swizzle<D>::tensor_at(lane % 8 + lane / 16 * 8, lane / 8 % 2);
    forget(from);
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        unsigned r[4];
        ldmatrix_x4(r, b + swizzle<D>::right(from, k) + n * 8 * D);
#pragma unroll
        for (int m = 0; m < M; m++) {
            mma_16816(c[m][n], a[m], r[0], r[1]);
            mma_16816(c[m][n + 1], a[m], r[2], r[3]);
        }
    }
}

/* c [16 M, D] += p b, p [16 M, 8 N] the result of an mma, rounded to bf16, b a tile [8 N, D] */
template <int D, int M, int N>
DEVICE_INLINE void multiply_by_columns(float (&c)[M][D / 8][4], const float (&p)[M][N][4], bf16 *b) {
    int lane = threadIdx.x % 32, from = swizzle<D>::tensor_at(lane % 16, lane / 16);
    forget(from);
#pragma unroll
    for (int k = 0; k < N / 2; k++) {
        unsigned a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[m][i] = pack_bf16(p[m][2 * k + i / 2][i % 2 * 2], p[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int n = 0; n < D / 8; n += 2) {
            unsigned r[4];
            ldmatrix_x4_trans(r, b + swizzle<D>::right(from, n / 2) + k * 16 * D);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_16816(c[m][n], a[m], r[0], r[1]);
                mma_16816(c[m][n + 1], a[m], r[2], r[3]);
            }
        }
    }
}

/* c [16 M, 8 N] = value where column > row + diagonal; below: where column < row + diagonal */
template <int M, int N> DEVICE_INLINE void mask(float (&c)[M][N][4], int diagonal, bool below, float value) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int right = n * 8 + lane % 4 * 2 + i % 2 - (m * 16 + lane / 4 + i / 2 * 8 + diagonal);
                if (below ? right < 0 : right > 0) c[m][n][i] = value;
            }
}

/* c [16 M, 8 N] = value where the key is before the first one that the query sees. Rows are queries and columns keys, from these
 * on; with TURNED, rows are keys and columns queries. */
template <bool TURNED, int M, int N>
DEVICE_INLINE void mask_before(float (&c)[M][N][4], const attention_shape &s, i64 b, int query, int key, float value) {
    const int lane = threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;
#pragma unroll
    for (int outer = 0; outer < (TURNED ? N : M); outer++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int low = first_key(s, b, query + (TURNED ? outer * 8 + column + i : outer * 16 + row + i * 8)) - key;
#pragma unroll
            for (int inner = 0; inner < (TURNED ? M : N); inner++)
#pragma unroll
                for (int k = 0; k < 2; k++) {
                    float &x = TURNED ? c[inner][outer][2 * k + i] : c[outer][inner][2 * i + k];
                    if ((TURNED ? inner * 16 + row + k * 8 : inner * 8 + column + k) < low) x = value;
                }
        }
}

/* Stores the first `valid` of a warp's 16 M rows of c, times scale, to y. They pass through rows of a tile that no other warp
 * uses, so that 16-byte accesses cover whole rows. */
template <int D, int M>
DEVICE_INLINE void store_strips(bf16 *y, i64 ld, int valid, bf16 *tile, const float (&c)[M][D / 8][4],
                                const float (&scale)[M][2]) {
    int lane = threadIdx.x % 32;
    __syncwarp(); /* the rows are no longer in use */
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                bf16 *to = tile + swizzle<D>::tensor_at(m * 16 + lane / 4 + i * 8, n) + lane % 4 * 2;
                *(unsigned *)to = pack_bf16(c[m][n][2 * i] * scale[m][i], c[m][n][2 * i + 1] * scale[m][i]);
            }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < 2 * M * D; i += 32) {
        int row = i / (D / 8), chunk = i % (D / 8);
        if (row < valid)
            *(uint4 *)(y + row * ld + chunk * 8) = *(const uint4 *)(tile + swizzle<D>::tensor_at(row, chunk));
    }
}

#endif
