/* Attention in f32 for every type, row stride and head size up to 256: the cases that the tensor-core path does not take.
 *
 * The structure is the same, with one tile of 32 queries and tiles of 32 keys, on the f32 units. Each of 128 threads computes
 * 2 x 4 scores (32 multiply-adds for 6 loads of 16 bytes), and in 2 rows of an output 4 of every 32 columns. Lower bound: the
 * FLOPs of the other path at the f32 peak; shared memory allows a third to two thirds of it. Rows are padded to W + 4 floats,
 * an odd number of 16 bytes, so that eight rows lie in different banks. W is the width that the tiles are compiled for: 64,
 * 128 or 256. */
#include "layers/attention.cuh"

enum { THREADS = 128, ROWS = 32, ACROSS = 8, PAIR_LD = ROWS + 4 };

template <int W> struct tiles {
    enum { ld = W + 4, floats = ROWS * ld };
};

DEVICE_INLINE int my_row() { return threadIdx.x / ACROSS * 2; } /* and the row after it */
DEVICE_INLINE int my_column() { return threadIdx.x % ACROSS; }
DEVICE_INLINE int whole(int D) { return (D + 3) / 4 * 4; }

/* loads rows of D elements as f32; columns up to whole(D) and rows from `valid` on become zero */
template <int W, class T> DEVICE_INLINE void load_rows(float *tile, const T *x, i64 ld, i64 valid, int D) {
    for (int row = threadIdx.x / 32; row < ROWS; row += THREADS / 32)
        for (int d = threadIdx.x % 32; d < whole(D); d += 32)
            tile[row * tiles<W>::ld + d] = row < valid && d < D ? to_f32(x[row * ld + d]) : 0.0f;
}

/* s = my rows of a times rows my_column() + 8 n of b */
template <int W> DEVICE_INLINE void multiply_by_rows(float (&s)[2][4], const float *a, const float *b, int D) {
    a += my_row() * tiles<W>::ld, b += my_column() * tiles<W>::ld;
#pragma unroll
    for (int n = 0; n < 4; n++) s[0][n] = s[1][n] = 0;
    for (int d = 0; d < D; d += 4) {
        const float4 x = *(const float4 *)(a + d), y = *(const float4 *)(a + tiles<W>::ld + d);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const float4 z = *(const float4 *)(b + n * ACROSS * tiles<W>::ld + d);
            s[0][n] = fmaf(x.w, z.w, fmaf(x.z, z.z, fmaf(x.y, z.y, fmaf(x.x, z.x, s[0][n]))));
            s[1][n] = fmaf(y.w, z.w, fmaf(y.z, z.z, fmaf(y.y, z.y, fmaf(y.x, z.x, s[1][n]))));
        }
    }
}

/* [32,32], for multiply_by_columns; the eight threads that write and read a row are in one warp */
DEVICE_INLINE void put_pairs(float *pairs, const float (&s)[2][4]) {
    __syncwarp(); /* the previous contents are no longer in use */
#pragma unroll
    for (int n = 0; n < 4; n++) {
        pairs[my_row() * PAIR_LD + my_column() + n * ACROSS] = s[0][n];
        pairs[(my_row() + 1) * PAIR_LD + my_column() + n * ACROSS] = s[1][n];
    }
    __syncwarp();
}

/* sum += my rows of pairs times b, in columns 4 my_column() to + 3 of every 32 */
template <int W>
DEVICE_INLINE void multiply_by_columns(float (&sum)[2][W / 8], const float *pairs, const float *b, int D) {
    pairs += my_row() * PAIR_LD;
    for (int j = 0; j < ROWS; j++, b += tiles<W>::ld) {
        const float x = pairs[j], y = pairs[PAIR_LD + j];
#pragma unroll
        for (int c = 0; c < W / 32; c++) {
            const int column = 32 * c + 4 * my_column();
            if (column >= D) continue;
            const float4 z = *(const float4 *)(b + column);
            const float v[4] = {z.x, z.y, z.z, z.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                sum[0][4 * c + i] = fmaf(x, v[i], sum[0][4 * c + i]);
                sum[1][4 * c + i] = fmaf(y, v[i], sum[1][4 * c + i]);
            }
        }
    }
}

template <int W, class T>
DEVICE_INLINE void store_rows(T *y, i64 ld, i64 valid, int D, const float (&sum)[2][W / 8], const float (&scale)[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int c = 0; c < W / 8; c++) {
            const int column = c / 4 * 32 + 4 * my_column() + c % 4;
            if (my_row() + r < valid && column < D) from_f32(y + (my_row() + r) * ld + column, sum[r][c] * scale[r]);
        }
}

/* over the eight threads of a row */
DEVICE_INLINE float row_max(float x) {
#pragma unroll
    for (int step = 4; step; step >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
    return x;
}

DEVICE_INLINE float row_sum(float x) {
#pragma unroll
    for (int step = 4; step; step >>= 1) x += __shfl_xor_sync(~0u, x, step);
    return x;
}

/* turns scores in base 2 into probabilities relative to the new maximum, and rescales the output so far */
template <int W> DEVICE_INLINE void soften(float (&s)[4], float &top, float &sum, float (&out)[W / 8]) {
    float above = row_max(fmaxf(fmaxf(s[0], s[1]), fmaxf(s[2], s[3])));
    above = fmaxf(top, above);
    const float base = above == -INFINITY ? 0 : above; /* no key of this row has been seen yet */
    const float shrink = exp2f(top - base);
    top = above, sum *= shrink;
#pragma unroll
    for (int n = 0; n < 4; n++) sum += s[n] = exp2f(s[n] - base);
#pragma unroll
    for (int c = 0; c < W / 8; c++) out[c] *= shrink;
}

template <class T, int W>
static __global__ void __launch_bounds__(THREADS, 2)
    forward_kernel(T *o, float *lse, const T *q, const T *k, const T *v, attention_shape shape) {
    DYN_SHARED(memory);
    float *sq = (float *)memory, *sk = sq + tiles<W>::floats, *sv = sk + tiles<W>::floats, *sp = sv + tiles<W>::floats;
    const attention_shape &s = shape;
    const i64 b = blockIdx.z, h = blockIdx.y, first = (i64)(gridDim.x - 1 - blockIdx.x) * ROWS, past = s.Tk - s.Tq;
    const i64 end = min(first + ROWS, s.Tq) + past, kv = b * s.Tk * s.ldk + h / (s.H / s.K) * s.D;
    const int D = (int)s.D;
    load_rows<W>(sq, q + (b * s.Tq + first) * s.ldq + h * D, s.ldq, s.Tq - first, D);
    float out[2][W / 8] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    const int low[2] = {first_key(s, b, first + my_row()), first_key(s, b, first + my_row() + 1)};
    for (i64 key = first_key(s, b, first) / ROWS * ROWS; key < end; key += ROWS) {
        float p[2][4];
        __syncthreads(); /* the previous keys and values are no longer in use */
        load_rows<W>(sk, k + kv + key * s.ldk, s.ldk, s.Tk - key, D);
        load_rows<W>(sv, v + kv + key * s.ldk, s.ldk, s.Tk - key, D);
        __syncthreads();
        multiply_by_rows<W>(p, sq, sk, D);
#pragma unroll
        for (int r = 0; r < 2; r++) {
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const i64 j = key + my_column() + n * ACROSS;
                p[r][n] = j > first + my_row() + r + past || j < low[r] ? -INFINITY : p[r][n] * (s.scale * LOG2_E);
            }
            soften<W>(p[r], top[r], sum[r], out[r]);
        }
        put_pairs(sp, p);
        multiply_by_columns<W>(out, sp, sv, D);
    }
    float over[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] = row_sum(sum[r]);
        over[r] = 1.0f / sum[r];
        const i64 row = first + my_row() + r;
        if (my_column() == 0 && row < s.Tq) lse[(b * s.H + h) * s.Tq + row] = (top[r] + log2f(sum[r])) * LN_2;
    }
    store_rows<W>(o + (b * s.Tq + first) * s.ldo + h * D, s.ldo, s.Tq - first, D, out, over);
}

/* p and ds of a query and a key; x: {lse in base 2, delta} of the query */
DEVICE_INLINE void gradient(float &p, float &ds, bool seen, float2 x, float scale) {
    p = seen ? exp2f(p * scale - x.x) : 0.0f;
    ds = seen ? p * (ds - x.y) : 0.0f;
}

/* keys stay, queries of all heads of the group move */
template <class T, int W>
static __global__ void __launch_bounds__(THREADS, 2)
    keys_kernel(T *dk, T *dv, const T *d_o, const T *q, const T *k, const T *v, const float2 *statistics,
                attention_shape shape) {
    DYN_SHARED(memory);
    float *sk = (float *)memory, *sv = sk + tiles<W>::floats, *sq = sv + tiles<W>::floats;
    float *sdo = sq + tiles<W>::floats, *sp = sdo + tiles<W>::floats;
    const attention_shape &s = shape;
    const i64 b = blockIdx.z, head = blockIdx.y, first = (i64)blockIdx.x * ROWS, length = s.Tq, group = s.H / s.K;
    const i64 at = (b * length + first) * s.ldk + head * s.D;
    const int D = (int)s.D;
    load_rows<W>(sk, k + at, s.ldk, length - first, D);
    load_rows<W>(sv, v + at, s.ldk, length - first, D);
    const bool masked = s.window || s.starts;
    const i64 end = masked ? queries_end(s, b, min(first + ROWS, length) - 1) : length;
    float sum_k[2][W / 8] = {}, sum_v[2][W / 8] = {};
    for (i64 h = head * group; h < (head + 1) * group; h++)
        for (i64 query = first; query < end; query += ROWS) {
            const float2 *x = statistics + (b * s.H + h) * attention_padded(s) + query + my_column();
            float p[2][4], ds[2][4];
            __syncthreads(); /* the previous queries are no longer in use */
            load_rows<W>(sq, q + (b * length + query) * s.ldq + h * D, s.ldq, length - query, D);
            load_rows<W>(sdo, d_o + (b * length + query) * s.ldo + h * D, s.ldo, length - query, D);
            __syncthreads();
            multiply_by_rows<W>(p, sk, sq, D);
            multiply_by_rows<W>(ds, sv, sdo, D);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const i64 j = first + my_row() + i / 4, n = query + my_column() + i % 4 * ACROSS;
                gradient(p[i / 4][i % 4], ds[i / 4][i % 4], j <= n && (!masked || j >= first_key(s, b, n)),
                         x[i % 4 * ACROSS], s.scale * LOG2_E);
            }
            put_pairs(sp, p);
            multiply_by_columns<W>(sum_v, sp, sdo, D);
            put_pairs(sp, ds);
            multiply_by_columns<W>(sum_k, sp, sq, D);
        }
    store_rows<W>(dk + at, s.ldk, length - first, D, sum_k, {s.scale, s.scale});
    store_rows<W>(dv + at, s.ldk, length - first, D, sum_v, {1.0f, 1.0f});
}

/* queries stay, keys move */
template <class T, int W>
static __global__ void __launch_bounds__(THREADS, 2)
    queries_kernel(T *dq, const T *d_o, const T *q, const T *k, const T *v, const float2 *statistics,
                   attention_shape shape) {
    DYN_SHARED(memory);
    float *sq = (float *)memory, *sdo = sq + tiles<W>::floats, *sk = sdo + tiles<W>::floats;
    float *sv = sk + tiles<W>::floats, *sp = sv + tiles<W>::floats;
    const attention_shape &s = shape;
    const i64 b = blockIdx.z, h = blockIdx.y, first = (i64)(gridDim.x - 1 - blockIdx.x) * ROWS;
    const i64 kv = b * s.Tk * s.ldk + h / (s.H / s.K) * s.D, at = (b * s.Tq + first) * s.ldq + h * s.D;
    const int D = (int)s.D;
    load_rows<W>(sq, q + at, s.ldq, s.Tq - first, D);
    load_rows<W>(sdo, d_o + (b * s.Tq + first) * s.ldo + h * D, s.ldo, s.Tq - first, D);
    const float2 *x = statistics + (b * s.H + h) * attention_padded(s) + first + my_row();
    float sum[2][W / 8] = {};
    const int low[2] = {first_key(s, b, first + my_row()), first_key(s, b, first + my_row() + 1)};
    for (i64 key = first_key(s, b, first) / ROWS * ROWS; key < min(first + ROWS, s.Tq); key += ROWS) {
        float p[2][4], ds[2][4];
        __syncthreads(); /* the previous keys and values are no longer in use */
        load_rows<W>(sk, k + kv + key * s.ldk, s.ldk, s.Tk - key, D);
        load_rows<W>(sv, v + kv + key * s.ldk, s.ldk, s.Tk - key, D);
        __syncthreads();
        multiply_by_rows<W>(p, sq, sk, D);
        multiply_by_rows<W>(ds, sdo, sv, D);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const i64 j = key + my_column() + i % 4 * ACROSS;
            gradient(p[i / 4][i % 4], ds[i / 4][i % 4], j <= first + my_row() + i / 4 && j >= low[i / 4], x[i / 4],
                     s.scale * LOG2_E);
        }
        put_pairs(sp, ds);
        multiply_by_columns<W>(sum, sp, sk, D);
    }
    store_rows<W>(dq + at, s.ldq, s.Tq - first, D, sum, {s.scale, s.scale});
}

/* runs the statements with W = the smallest tile width that holds D */
#define WITH_WIDTH(D, W, ...)                                                                                          \
    do {                                                                                                               \
        if ((D) <= 64) {                                                                                               \
            constexpr int W = 64;                                                                                      \
            __VA_ARGS__;                                                                                               \
        } else if ((D) <= 128) {                                                                                       \
            constexpr int W = 128;                                                                                     \
            __VA_ARGS__;                                                                                               \
        } else {                                                                                                       \
            constexpr int W = 256;                                                                                     \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

/* for this many tiles, and the pairs */
template <int W> static int shared_bytes(int count) {
    return (count * tiles<W>::floats + ROWS * PAIR_LD) * (int)sizeof(float);
}

template <class T, int W>
static status forward(device *dev, T *o, float *lse, const T *q, const T *k, const T *v, attention_shape s) {
    const int bytes = shared_bytes<W>(3);
    const dim3 grid((unsigned)ceil_div(s.Tq, ROWS), (unsigned)s.H, (unsigned)s.B);
    TRY(attention_shared(dev, forward_kernel<T, W>, bytes, s.D));
    RUN(dev, (forward_kernel<T, W>), grid, THREADS, bytes, o, lse, q, k, v, s);
    return STATUS_OK;
}

status attention_forward_general(device *dev, dtype t, void *o, float *lse, const void *q, const void *k, const void *v,
                                 attention_shape s) {
    WITH_TYPE(t, T,
              WITH_WIDTH(s.D, W, return forward<T, W>(dev, (T *)o, lse, (const T *)q, (const T *)k, (const T *)v, s)));
}

template <class T, int W>
static status backward(device *dev, T *dq, T *dk, T *dv, const T *d_o, const T *q, const T *k, const T *v,
                       const float2 *statistics, attention_shape s) {
    const int bytes = shared_bytes<W>(4);
    const unsigned B = (unsigned)s.B, count = (unsigned)ceil_div(s.Tq, ROWS);
    TRY(attention_shared(dev, keys_kernel<T, W>, bytes, s.D));
    TRY(attention_shared(dev, queries_kernel<T, W>, bytes, s.D));
    RUN(dev, (keys_kernel<T, W>), dim3(count, (unsigned)s.K, B), THREADS, bytes, dk, dv, d_o, q, k, v, statistics, s);
    RUN(dev, (queries_kernel<T, W>), dim3(count, (unsigned)s.H, B), THREADS, bytes, dq, d_o, q, k, v, statistics, s);
    return STATUS_OK;
}

status attention_backward_general(device *dev, dtype t, const attention_gradients *d, const attention_tensors *x,
                                  const float2 *statistics, attention_shape s) {
    WITH_TYPE(t, T,
              WITH_WIDTH(s.D, W,
                         return backward<T, W>(dev, (T *)d->dq, (T *)d->dk, (T *)d->dv, (const T *)d->d_o,
                                               (const T *)x->q, (const T *)x->k, (const T *)x->v, statistics, s)));
}
