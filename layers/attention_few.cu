/* A few queries and many keys: generation with a key/value cache, one token at a time.
 *
 * A tile of queries would be nearly empty, and one block would process all keys. So the keys of each query are divided into
 * pieces of 256, one block each: one token with 8192 keys and 32 heads takes 1024 blocks. A second kernel joins the pieces in
 * order. Lower bound: the bytes of keys and values, once per query head (the heads of a group find them in L2), because each
 * element is used once. */
#include "layers/attention.cuh"

enum { THREADS = 128, WARPS = THREADS / 32, PIECE = 256, MOST_QUERIES = 8, MAX_D = 256, AT_ONCE = 4 };

/* per piece: the largest score in base 2, the sum of probabilities relative to it, then D sums of values */
__host__ __device__ static inline i64 piece_floats(const attention_shape &s) { return s.D + 2; }
__host__ __device__ static inline i64 piece_count(const attention_shape &s) { return (s.Tk + PIECE - 1) / PIECE; }

static size_t pieces_bytes(attention_shape s) {
    return (size_t)(s.B * s.Tq * s.H * piece_count(s) * piece_floats(s)) * sizeof(float);
}

bool attention_is_few(attention_shape s) {
    return s.Tk > s.Tq && s.Tq <= MOST_QUERIES && s.B * s.Tq <= MOST_IN_GRID && piece_count(s) <= MOST_IN_GRID &&
           pieces_bytes(s) <= CUDA_SCRATCH_BYTES;
}

/* scores of n keys in base 2; each warp takes some, AT_ONCE at a time so that their loads overlap */
template <class T>
DEVICE_INLINE void score_keys(float *scores, const T *q, const T *k, i64 ld, int n, int D, float scale) {
    int lane = threadIdx.x % 32;
    for (int j = threadIdx.x / 32 * AT_ONCE; j < n; j += WARPS * AT_ONCE) {
        float dot[AT_ONCE] = {};
        for (int d = lane; d < D; d += 32) {
            float x = to_f32(q[d]);
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++)
                if (j + i < n) dot[i] = fmaf(x, to_f32(k[(j + i) * ld + d]), dot[i]);
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            dot[i] = warp_sum(dot[i]) * scale;
            if (lane == 0 && j + i < n) scores[j + i] = dot[i];
        }
    }
}

/* sums [WARPS,MAX_D]: of every WARPS-th of n values, weighted */
template <class T>
DEVICE_INLINE void sum_values(float (*sums)[MAX_D], const float *weights, const T *v, i64 ld, int n, int D) {
    int warp = threadIdx.x / 32;
    for (int d = threadIdx.x % 32; d < D; d += 32) {
        float sum = 0;
#pragma unroll 8
        for (int j = warp; j < n; j += WARPS) sum = fmaf(weights[j], to_f32(v[j * ld + d]), sum);
        sums[warp][d] = sum;
    }
}

template <class T>
static __global__ void __launch_bounds__(THREADS)
    piece_kernel(float *pieces, const T *q, const T *k, const T *v, attention_shape s) {
    SHARED(float, scores, [PIECE]);
    SHARED(float, sums, [WARPS][MAX_D]);
    const i64 b = blockIdx.y / s.Tq, i = blockIdx.y % s.Tq, h = blockIdx.x, first = (i64)blockIdx.z * PIECE;
    const i64 begin = max(first, (i64)first_key(s, b, i)); /* keys of the piece before it are not seen */
    const int n = (int)(min(first + PIECE, i + 1 + s.Tk - s.Tq) - begin), D = (int)s.D;
    const i64 kv = (b * s.Tk + begin) * s.ldk + h / (s.H / s.K) * D;
    if (n <= 0) return;
    for (int j = threadIdx.x; j < PIECE; j += THREADS) scores[j] = -INFINITY;
    __syncthreads();
    score_keys(scores, q + (b * s.Tq + i) * s.ldq + h * D, k + kv, s.ldk, n, D, s.scale * LOG2_E);
    __syncthreads();
    float top = -INFINITY, sum = 0;
    for (int j = threadIdx.x % 32; j < PIECE; j += 32) top = fmaxf(top, scores[j]);
    top = warp_max(top);
    for (int j = threadIdx.x % 32; j < PIECE; j += 32) sum += exp2f(scores[j] - top);
    sum = warp_sum(sum);
    __syncthreads(); /* every warp has the sum of all scores */
    for (int j = threadIdx.x; j < PIECE; j += THREADS) scores[j] = exp2f(scores[j] - top);
    __syncthreads();
    sum_values(sums, scores, v + kv, s.ldk, n, D);
    __syncthreads();
    pieces += ((blockIdx.y * s.H + h) * piece_count(s) + blockIdx.z) * piece_floats(s);
    if (threadIdx.x == 0) pieces[0] = top, pieces[1] = sum;
    for (int d = threadIdx.x; d < D; d += THREADS) pieces[2 + d] = sums[0][d] + sums[1][d] + sums[2][d] + sums[3][d];
}

template <class T>
static __global__ void __launch_bounds__(THREADS)
    join_kernel(T *o, float *lse, const float *pieces, attention_shape s) {
    const i64 b = blockIdx.y / s.Tq, i = blockIdx.y % s.Tq, h = blockIdx.x, floats = piece_floats(s);
    const int begin = first_key(s, b, i) / PIECE, count = (int)((i + 1 + s.Tk - s.Tq + PIECE - 1) / PIECE),
              D = (int)s.D;
    pieces += (blockIdx.y * s.H + h) * piece_count(s) * floats;
    float top = -INFINITY, sum = 0;
    for (int n = begin; n < count; n++) top = fmaxf(top, pieces[n * floats]);
    for (int n = begin; n < count; n++) sum += exp2f(pieces[n * floats] - top) * pieces[n * floats + 1];
    if (threadIdx.x == 0) lse[(b * s.H + h) * s.Tq + i] = (top + log2f(sum)) * LN_2;
    o += (b * s.Tq + i) * s.ldo + h * D;
    for (int d = threadIdx.x; d < D; d += THREADS) {
        float x = 0;
        for (int n = begin; n < count; n++) x += exp2f(pieces[n * floats] - top) * pieces[n * floats + 2 + d];
        from_f32(o + d, x / sum);
    }
}

template <class T>
static status forward(device *dev, T *o, float *lse, const T *q, const T *k, const T *v, attention_shape s) {
    const dim3 rows((unsigned)s.H, (unsigned)(s.B * s.Tq)), grid(rows.x, rows.y, (unsigned)piece_count(s));
    void *pieces;
    TRY(cuda_scratch(dev, &pieces, pieces_bytes(s)));
    RUN(dev, (piece_kernel<T>), grid, THREADS, 0, (float *)pieces, q, k, v, s);
    RUN(dev, (join_kernel<T>), rows, THREADS, 0, o, lse, (const float *)pieces, s);
    return STATUS_OK;
}

status attention_forward_few(device *dev, dtype t, void *o, float *lse, const void *q, const void *k, const void *v,
                             attention_shape s) {
    WITH_TYPE(t, T, return forward<T>(dev, (T *)o, lse, (const T *)q, (const T *)k, (const T *)v, s));
}
