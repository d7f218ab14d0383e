/* Backward on the tensor cores, without atomics: one kernel computes dk and dv, another dq.
 *
 *   p = exp(scale q.k - lse)   ds = p * (do.v - delta)   dv = sum p do   dk = scale * sum ds q   dq = scale * sum ds k
 *
 * A tile of keys needs all queries and a tile of queries needs all keys; one block cannot hold both sums. Summing dq across
 * blocks takes float atomics (another order and other bits in every run) or blocks that wait for each other. So dq has its own
 * kernel, which computes p and ds again: 7 matmuls instead of 5, a lower bound of 14*B*H*D*S FLOPs; the counter books the 10
 * that the algorithm needs. Each kernel reads q, k, v and do from memory once. For every tile that stays in shared memory it
 * reads the two moving tensors again, from L2.
 *
 * In both kernels a warp owns rows (keys, or queries) of two tiles that stay in shared memory. It processes 32 rows at a time
 * of the two other tensors. cp.async loads them into one of two stages while the other stage is in use: one barrier per step. The
 * owned rows are the rows of the scores, so that p and ds are operands of the next matmuls in the registers where they were
 * computed.
 *
 * - D = 64: a warp owns 32 rows, and each ldmatrix feeds 4 mma. D = 96, 128: dk and dv of 32 rows would take all 255
 *   registers, so a warp owns 16 rows, and with 64 KiB per block two blocks share an A100's multiprocessor.
 * - The dq kernel keeps its two tiles in registers as operands. The dk, dv kernel has 2 x D sums per row in registers, and reads
 *   its tiles from shared memory again.
 * - A block of keys goes through the query heads of its group in turn: sums over the group have a fixed order.
 * - Early keys are seen by most queries, and late queries see most keys. These blocks of a head go first.
 * - The blocks of a head are adjacent in the grid. They run together and find the moving tensors in L2: 4*T*D bytes per head.
 *   216 blocks (two per multiprocessor of an A100) are 216 * tile / T heads. That is 7 MB of the 40 MB of L2 at D = 64 and 128,
 *   for every T; for blocks of keys up to H/K times that, because each may be at another head of its group.
 * - With a window or documents (MASKED) a tile of keys goes on to the last query that sees one of them, and a tile of queries
 *   begins at the first key that one of them sees. Those kernels are compiled apart. */
#include "layers/attention.cuh"

enum { STEP = 32, BLOCKS = STEP / 8 };

template <int D> struct backward_plan {
    enum {
        strips = D == 64 ? 2 : 1,
        rows = 16 * strips, /* of a warp */
        tile = rows * MMA_WARPS,
        stage_bytes = 2 * STEP * D * (int)sizeof(bf16) + STEP * (int)sizeof(float2),
        bytes = 2 * tile * D * (int)sizeof(bf16) + 2 * stage_bytes
    };
};

/* the two moving tiles, and the statistics if queries move */
template <int D> struct stage {
    bf16 *a, *b;
    float2 *statistics;
    __device__ stage(unsigned char *memory, int i) {
        a = (bf16 *)(memory + 2 * backward_plan<D>::tile * D * sizeof(bf16) + i % 2 * backward_plan<D>::stage_bytes);
        b = a + STEP * D;
        statistics = (float2 *)(b + STEP * D);
    }
};

template <int D> using sums = float[backward_plan<D>::strips][D / 8][4];
template <int D> using scores = float[backward_plan<D>::strips][BLOCKS][4];

template <int D> DEVICE_INLINE void clear_scores(scores<D> &s, scores<D> &dp) {
#pragma unroll
    for (int i = 0; i < backward_plan<D>::strips * BLOCKS * 4; i++)
        s[i / (BLOCKS * 4)][i / 4 % BLOCKS][i % 4] = dp[i / (BLOCKS * 4)][i / 4 % BLOCKS][i % 4] = 0;
}

template <int D> DEVICE_INLINE void store_sums(bf16 *y, i64 ld, int valid, bf16 *tile, const sums<D> &c, float scale) {
    float scales[backward_plan<D>::strips][2];
#pragma unroll
    for (int m = 0; m < backward_plan<D>::strips; m++) scales[m][0] = scales[m][1] = scale;
    store_strips<D>(y, ld, valid, tile, c, scales);
}

/* one score and do.v -> p and ds; x: {lse in base 2, delta} of its query */
DEVICE_INLINE void gradient(float &s, float &dp, float2 x, float scale) {
    s = exp2_approx(fmaf(s, scale, -x.x));
    dp = s * (dp - x.y);
}

/* --- dk, dv: keys stay, queries move --- */

template <int D>
DEVICE_INLINE void load_queries(stage<D> to, const bf16 *q, const bf16 *d_o, const float2 *statistics,
                                const attention_shape &s, i64 b, i64 h, i64 query) {
    load_tile<D, STEP>(to.a, q + (b * s.Tq + query) * s.ldq + h * D, s.ldq, (int)(s.Tq - query));
    load_tile<D, STEP>(to.b, d_o + (b * s.Tq + query) * s.ldo + h * D, s.ldo, (int)(s.Tq - query));
    const float2 *from = statistics + (b * s.H + h) * attention_padded(s) + query;
    if (threadIdx.x < STEP / 2) cp_async_16(to.statistics + 2 * threadIdx.x, from + 2 * threadIdx.x, true);
    cp_async_commit();
}

/* the warp's keys, rows of k and v from `key` on, with a stage of queries from `query` on */
template <int D, bool MASKED>
DEVICE_INLINE void keys_step(sums<D> &dk, sums<D> &dv, bf16 *k, bf16 *v, stage<D> x, const attention_shape &shape,
                             i64 b, int key, int query) {
    const float scale = shape.scale * LOG2_E;
    const int diagonal = query - key;
    constexpr int M = backward_plan<D>::strips;
    scores<D> s, dp;
    clear_scores<D>(s, dp);
#pragma unroll 2 /* full unrolling takes too many registers at D = 64 */
    for (int i = 0; i < D / 16; i++) {
        unsigned a[M][4];
        load_strips<D>(a, k, i);
        multiply_by_rows<D>(s, a, x.a, i);
        load_strips<D>(a, v, i);
        multiply_by_rows<D>(dp, a, x.b, i);
    }
#pragma unroll
    for (int n = 0; n < BLOCKS; n++) {
        const float4 two = *(const float4 *)(x.statistics + n * 8 + threadIdx.x % 4 * 2);
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                gradient(s[m][n][i], dp[m][n][i], i % 2 ? make_float2(two.z, two.w) : make_float2(two.x, two.y), scale);
    }
    if (diagonal < backward_plan<D>::rows - 1) {
        mask(s, -diagonal, true, 0);
        mask(dp, -diagonal, true, 0);
    }
    if (MASKED && first_key(shape, b, query + STEP - 1) > key) {
        mask_before<true>(s, shape, b, query, key, 0);
        mask_before<true>(dp, shape, b, query, key, 0);
    }
    multiply_by_columns<D>(dv, s, x.b);
    multiply_by_columns<D>(dk, dp, x.a);
}

template <int D, bool MASKED>
static __global__ void __launch_bounds__(MMA_THREADS, 2)
    keys_kernel(bf16 *dk, bf16 *dv, const bf16 *d_o, const bf16 *q, const bf16 *k, const bf16 *v,
                const float2 *statistics, attention_shape s) {
    constexpr int TILE = backward_plan<D>::tile;
    DYN_SHARED(memory);
    bf16 *sk = (bf16 *)memory, *sv = sk + TILE * D;
    const int first = blockIdx.x * TILE, mine = threadIdx.x / 32 * backward_plan<D>::rows, heads = (int)(s.H / s.K);
    const i64 b = blockIdx.z, head = blockIdx.y, at = (b * s.Tk + first) * s.ldk + head * D;
    const int rows = (int)s.Tk - first,
              queries = MASKED ? queries_end(s, b, first + min(rows, TILE) - 1) - first : rows;
    const int per_head = (queries + STEP - 1) / STEP, steps = per_head * heads;
    load_tile<D, TILE>(sk, k + at, s.ldk, rows);
    load_tile<D, TILE>(sv, v + at, s.ldk, rows);
    load_queries<D>(stage<D>(memory, 0), q, d_o, statistics, s, b, head * heads, first);

    sums<D> sum_k = {}, sum_v = {};
    for (int i = 0; i < steps; i++) {
        const int query = i % per_head * STEP, next = i + 1; /* relative to the tile's first key */
        cp_async_wait<0>();
        __syncthreads(); /* this stage is loaded; the other is no longer in use */
        if (next < steps)
            load_queries<D>(stage<D>(memory, next), q, d_o, statistics, s, b, head * heads + next / per_head,
                            first + next % per_head * STEP);
        if (query + STEP > mine && mine < rows &&
            (!MASKED || first_key(s, b, first + query) < first + mine + backward_plan<D>::rows))
            keys_step<D, MASKED>(sum_k, sum_v, sk + mine * D, sv + mine * D, stage<D>(memory, i), s, b, first + mine,
                                 first + query);
    }
    store_sums<D>(dk + at + mine * s.ldk, s.ldk, rows - mine, sk + mine * D, sum_k, s.scale);
    store_sums<D>(dv + at + mine * s.ldk, s.ldk, rows - mine, sv + mine * D, sum_v, 1);
}

/* --- dq: queries stay, keys move --- */

template <int D> DEVICE_INLINE void load_keys(stage<D> to, const bf16 *k, const bf16 *v, i64 ld, int valid) {
    load_tile<D, STEP>(to.a, k, ld, valid);
    load_tile<D, STEP>(to.b, v, ld, valid);
    cp_async_commit();
}

/* the warp's queries from `query` on, as operands, with a stage of keys from `key` on; high: first_key of the last query */
template <int D, bool MASKED>
DEVICE_INLINE void queries_step(sums<D> &dq, const unsigned (&q)[D / 16][backward_plan<D>::strips][4],
                                const unsigned (&d_o)[D / 16][backward_plan<D>::strips][4],
                                const float2 (&x)[backward_plan<D>::strips][2], stage<D> keys,
                                const attention_shape &shape, i64 b, int query, int key, int high) {
    const float scale = shape.scale * LOG2_E;
    const int diagonal = query - key;
    scores<D> s, dp;
    clear_scores<D>(s, dp);
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        multiply_by_rows<D>(s, q[i], keys.a, i);
        multiply_by_rows<D>(dp, d_o[i], keys.b, i);
    }
#pragma unroll
    for (int m = 0; m < backward_plan<D>::strips; m++)
#pragma unroll
        for (int n = 0; n < BLOCKS; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) gradient(s[m][n][i], dp[m][n][i], x[m][i / 2], scale);
    if (diagonal < STEP - 1) mask(dp, diagonal, false, 0);
    if (MASKED && key < high) mask_before<false>(dp, shape, b, query, key, 0);
    multiply_by_columns<D>(dq, dp, keys.a);
}

template <int D, bool MASKED>
static __global__ void __launch_bounds__(MMA_THREADS, 2)
    queries_kernel(bf16 *dq, const bf16 *d_o, const bf16 *q, const bf16 *k, const bf16 *v, const float2 *statistics,
                   attention_shape s) {
    constexpr int TILE = backward_plan<D>::tile, M = backward_plan<D>::strips;
    DYN_SHARED(memory);
    bf16 *sq = (bf16 *)memory, *sdo = sq + TILE * D;
    const int first = (int)(gridDim.x - 1 - blockIdx.x) * TILE, mine = threadIdx.x / 32 * backward_plan<D>::rows;
    const i64 b = blockIdx.z, h = blockIdx.y;
    const int rows = (int)s.Tq - first, keys = (int)s.Tk, steps = (min(rows, TILE) + first + STEP - 1) / STEP;
    const int begin = MASKED ? first_key(s, b, first) / STEP : 0;
    const int low = MASKED ? first_key(s, b, first + mine) : 0;
    const int high = MASKED ? first_key(s, b, first + mine + backward_plan<D>::rows - 1) : 0;
    k += b * s.Tk * s.ldk + h / (s.H / s.K) * D, v += b * s.Tk * s.ldk + h / (s.H / s.K) * D;
    load_tile<D, TILE>(sq, q + (b * s.Tq + first) * s.ldq + h * D, s.ldq, rows);
    load_tile<D, TILE>(sdo, d_o + (b * s.Tq + first) * s.ldo + h * D, s.ldo, rows);
    load_keys<D>(stage<D>(memory, begin), k + begin * STEP * s.ldk, v + begin * STEP * s.ldk, s.ldk,
                 keys - begin * STEP);

    unsigned held_q[D / 16][M][4], held_do[D / 16][M][4];
    float2 x[M][2];
    statistics += (b * s.H + h) * attention_padded(s) + first + mine + threadIdx.x % 32 / 4;
#pragma unroll
    for (int i = 0; i < 2 * M; i++) x[i / 2][i % 2] = statistics[i * 8];
    sums<D> sum = {};
    for (int j = begin; j < steps; j++) {
        const int diagonal = first + mine - j * STEP;
        cp_async_wait<0>();
        __syncthreads(); /* this stage is loaded; the other is no longer in use */
        if (j == begin)
#pragma unroll
            for (int i = 0; i < D / 16; i++) {
                load_strips<D>(held_q[i], sq + mine * D, i);
                load_strips<D>(held_do[i], sdo + mine * D, i);
            }
        if (j + 1 < steps) {
            const int next = (j + 1) * STEP;
            load_keys<D>(stage<D>(memory, j + 1), k + next * s.ldk, v + next * s.ldk, s.ldk, keys - next);
        }
        if (diagonal + backward_plan<D>::rows > 0 && mine < rows && (!MASKED || low < (j + 1) * STEP))
            queries_step<D, MASKED>(sum, held_q, held_do, x, stage<D>(memory, j), s, b, first + mine, j * STEP, high);
    }
    store_sums<D>(dq + (b * s.Tq + first + mine) * s.ldq + h * D, s.ldq, rows - mine, sq + mine * D, sum, s.scale);
}

template <int D, bool MASKED>
static status backward(device *dev, const attention_gradients *d, const attention_tensors *x, const float2 *statistics,
                       attention_shape s) {
    const bf16 *q = (const bf16 *)x->q, *k = (const bf16 *)x->k, *v = (const bf16 *)x->v, *d_o = (const bf16 *)d->d_o;
    const int bytes = backward_plan<D>::bytes;
    const unsigned tiles = (unsigned)ceil_div(s.Tq, backward_plan<D>::tile);
    TRY(attention_shared(dev, keys_kernel<D, MASKED>, bytes, s.D));
    TRY(attention_shared(dev, queries_kernel<D, MASKED>, bytes, s.D));
    RUN(dev, (keys_kernel<D, MASKED>), dim3(tiles, (unsigned)s.K, (unsigned)s.B), MMA_THREADS, bytes, (bf16 *)d->dk,
        (bf16 *)d->dv, d_o, q, k, v, statistics, s);
    RUN(dev, (queries_kernel<D, MASKED>), dim3(tiles, (unsigned)s.H, (unsigned)s.B), MMA_THREADS, bytes, (bf16 *)d->dq,
        d_o, q, k, v, statistics, s);
    return STATUS_OK;
}

template <bool MASKED>
static status backward_of_size(device *dev, const attention_gradients *d, const attention_tensors *x,
                               const float2 *statistics, attention_shape s) {
    if (s.D == 64) return backward<64, MASKED>(dev, d, x, statistics, s);
    if (s.D == 96) return backward<96, MASKED>(dev, d, x, statistics, s);
    return backward<128, MASKED>(dev, d, x, statistics, s);
}

status attention_backward_mma(device *dev, const attention_gradients *d, const attention_tensors *x,
                              const float2 *statistics, attention_shape s) {
    return attention_is_masked(s) ? backward_of_size<true>(dev, d, x, statistics, s)
                                  : backward_of_size<false>(dev, d, x, statistics, s);
}
