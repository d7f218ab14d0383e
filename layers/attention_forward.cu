/* Forward on the tensor cores, after FlashAttention-2 (Dao 2023).
 *
 * A block takes 128 queries of one head and all keys that they see, 64 at a time (48 at D = 128). Each of its 4 warps has 32
 * queries; their scores, probabilities and output stay in its registers. Lower bound: 4*B*H*D*S FLOPs on the tensor cores (S
 * pairs per head, about T^2/2), and 2*B*T*D*(2H + 2K) bytes of memory. The keys are read again for every 128 queries, from L2:
 * 128 FLOPs per byte.
 *
 * - 32 queries per warp: an mma.m16n8k16, 2048 multiply-adds, takes 2 cycles of an A100's multiprocessor; an ldmatrix.x4, 512
 *   bytes, takes 4 cycles of its shared memory. With 16 queries per warp each ldmatrix would feed 2 mma, and shared memory
 *   would be the limit, even more so on an H100; with 32 it feeds 4.
 * - D = 64 keeps the queries in registers too; at 96 and 128 the output needs those registers (up to 128).
 * - cp.async loads the values while the scores are computed, and the next keys while the values are used. So one buffer of each
 *   suffices, 56 KiB per block at D = 128: two blocks fit an A100's multiprocessor, and one computes matmuls while the other
 *   computes its softmax.
 * - The blocks of a head, and the heads of a group, are adjacent in the grid: they run together and share keys and values (L2).
 *   Two blocks per multiprocessor are 216 on an A100: 216 * 128 / T heads with 4*T*D bytes of keys and values each (fewer if
 *   heads share them). That is 14 MB of the 40 MB of L2 at D = 128, for every T.
 * - Only tiles that cross the diagonal are masked; tiles beyond it are skipped. Late queries have most keys; they go first.
 * - A window or documents (MASKED) make a second boundary, on the left: the same holds for it. That kernel is compiled apart, so
 *   that the other one has no trace of it.
 * - Softmax in base 2, with scale * log2(e) in one multiply-add. A row's sum is added over its four lanes once, at the end. */
#include "layers/attention.cuh"

enum { QUERIES = 128, STRIPS = QUERIES / MMA_WARPS / 16 };

template <int D> struct forward_plan {
    enum { keys = D == 128 ? 48 : 64, blocks = keys / 8 }; /* 64 would take too many registers at D = 128 */
};

/* for rows lane / 4 + 8 i of strip m: the largest score so far, in base 2, and this lane's part of the sum */
struct softmax {
    float top[STRIPS][2], sum[STRIPS][2];
};

/* turns scores into probabilities relative to the new maximum, and rescales the output so far */
template <int D, bool MASKED>
DEVICE_INLINE void soften(softmax &x, float (&s)[STRIPS][forward_plan<D>::blocks][4], float (&out)[STRIPS][D / 8][4],
                          float scale) {
#pragma unroll
    for (int m = 0; m < STRIPS; m++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float top = s[m][0][2 * i];
#pragma unroll
            for (int n = 0; n < forward_plan<D>::blocks; n++)
                top = fmaxf(top, fmaxf(s[m][n][2 * i], s[m][n][2 * i + 1]));
            top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
            top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
            top = fmaxf(top * scale, x.top[m][i]);
            const float base = MASKED && top == -INFINITY ? 0 : top; /* no key of this row has been seen yet */
            float shrink = exp2_approx(x.top[m][i] - base), sum = x.sum[m][i] * shrink;
            x.top[m][i] = top;
#pragma unroll
            for (int n = 0; n < forward_plan<D>::blocks; n++)
#pragma unroll
                for (int c = 2 * i; c < 2 * i + 2; c++) {
                    s[m][n][c] = exp2_approx(fmaf(s[m][n][c], scale, -base));
                    sum += s[m][n][c];
                }
            x.sum[m][i] = sum;
#pragma unroll
            for (int n = 0; n < D / 8; n++) out[m][n][2 * i] *= shrink, out[m][n][2 * i + 1] *= shrink;
        }
}

/* divides the output of the warp's 32 queries by the sums, and stores the first `valid` rows of o and lse */
template <int D>
DEVICE_INLINE void finish(bf16 *o, i64 ldo, float *lse, int valid, bf16 *tile, softmax &x,
                          const float (&out)[STRIPS][D / 8][4]) {
    int lane = threadIdx.x % 32;
    float over[STRIPS][2];
#pragma unroll
    for (int m = 0; m < STRIPS; m++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float sum = x.sum[m][i];
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            over[m][i] = 1.0f / sum;
            int row = m * 16 + lane / 4 + i * 8;
            if (lane % 4 == 0 && row < valid) lse[row] = (x.top[m][i] + log2f(sum)) * LN_2;
        }
    store_strips<D>(o, ldo, valid, tile, out, over);
}

template <int D, bool MASKED>
static __global__ void __launch_bounds__(MMA_THREADS, 2)
    forward_kernel(bf16 *o, float *lse, const bf16 *q, const bf16 *k, const bf16 *v, attention_shape s) {
    constexpr bool HELD = D == 64;
    constexpr int KEYS = forward_plan<D>::keys;
    DYN_SHARED(memory);
    bf16 *sq = (bf16 *)memory, *sk = sq + QUERIES * D, *sv = sk + KEYS * D;
    const int first = (int)(gridDim.x - 1 - blockIdx.x) * QUERIES;
    const i64 b = blockIdx.z, h = blockIdx.y;
    const int past = (int)(s.Tk - s.Tq), mine = threadIdx.x / 32 * 16 * STRIPS; /* the warp's first query in the tile */
    const int rows = (int)s.Tq - first, keys = (int)s.Tk, end = min(QUERIES, rows) + first + past;
    const int seen = mine < rows ? first + mine + past : -16 * STRIPS; /* the last key of the warp's first query */
    const i64 kv = b * s.Tk * s.ldk + h / (s.H / s.K) * D;
    const int begin = MASKED ? first_key(s, b, first) / KEYS * KEYS : 0;
    /* the first keys that the warp's first and last query see */
    const int low = MASKED ? first_key(s, b, first + mine) : 0;
    const int high = MASKED ? first_key(s, b, first + mine + 16 * STRIPS - 1) : 0;
    k += kv, v += kv;
    load_tile<D, QUERIES>(sq, q + (b * s.Tq + first) * s.ldq + h * D, s.ldq, rows);
    load_tile<D, KEYS>(sk, k + begin * s.ldk, s.ldk, keys - begin);
    cp_async_commit();

    unsigned held[HELD ? D / 16 : 1][STRIPS][4];
    float out[STRIPS][D / 8][4] = {};
    softmax x;
#pragma unroll
    for (int i = 0; i < 2 * STRIPS; i++) x.top[i / 2][i % 2] = -INFINITY, x.sum[i / 2][i % 2] = 0;
    for (int key = begin; key < end; key += KEYS) {
        const bool busy = key < seen + 16 * STRIPS && (!MASKED || key + KEYS > low);
        float scores[STRIPS][forward_plan<D>::blocks][4] = {};
        cp_async_wait<0>();
        __syncthreads(); /* the keys are loaded; the previous values are no longer in use */
        load_tile<D, KEYS>(sv, v + key * s.ldk, s.ldk, keys - key);
        cp_async_commit();
        if (MASKED && HELD && key == begin) /* the warp may be busy from a later key on */
#pragma unroll
            for (int i = 0; i < D / 16; i++) load_strips<D>(held[i], sq + mine * D, i);
        if (busy) {
#pragma unroll
            for (int i = 0; i < D / 16; i++) {
                auto &a = held[HELD ? i : 0];
                if (!HELD || (!MASKED && key == 0)) load_strips<D>(a, sq + mine * D, i);
                multiply_by_rows<D>(scores, a, sk, i);
            }
            if (key + KEYS - 1 > seen) mask(scores, seen - key, false, -INFINITY);
            if (MASKED && key < high) mask_before<false>(scores, s, b, first + mine, key, -INFINITY);
        }
        cp_async_wait<0>();
        __syncthreads(); /* the values are loaded; the keys are no longer in use */
        if (key + KEYS < end) load_tile<D, KEYS>(sk, k + (key + KEYS) * s.ldk, s.ldk, keys - key - KEYS);
        cp_async_commit();
        if (busy) {
            soften<D, MASKED>(x, scores, out, s.scale * LOG2_E);
            multiply_by_columns<D>(out, scores, sv);
        }
    }
    finish<D>(o + (b * s.Tq + first + mine) * s.ldo + h * D, s.ldo, lse + (b * s.H + h) * s.Tq + first + mine,
              rows - mine, sq + mine * D, x, out);
}

template <int D, bool MASKED>
static status forward(device *dev, bf16 *o, float *lse, const bf16 *q, const bf16 *k, const bf16 *v,
                      attention_shape s) {
    const int bytes = (QUERIES + 2 * forward_plan<D>::keys) * D * (int)sizeof(bf16);
    const dim3 grid((unsigned)ceil_div(s.Tq, QUERIES), (unsigned)s.H, (unsigned)s.B);
    TRY(attention_shared(dev, forward_kernel<D, MASKED>, bytes, s.D));
    RUN(dev, (forward_kernel<D, MASKED>), grid, MMA_THREADS, bytes, o, lse, q, k, v, s);
    return STATUS_OK;
}

template <bool MASKED>
static status forward_of_size(device *dev, bf16 *o, float *lse, const bf16 *q, const bf16 *k, const bf16 *v,
                              attention_shape s) {
    if (s.D == 64) return forward<64, MASKED>(dev, o, lse, q, k, v, s);
    if (s.D == 96) return forward<96, MASKED>(dev, o, lse, q, k, v, s);
    return forward<128, MASKED>(dev, o, lse, q, k, v, s);
}

status attention_forward_mma(device *dev, bf16 *o, float *lse, const bf16 *q, const bf16 *k, const bf16 *v,
                             attention_shape s) {
    return attention_is_masked(s) ? forward_of_size<true>(dev, o, lse, q, k, v, s)
                                  : forward_of_size<false>(dev, o, lse, q, k, v, s);
}
