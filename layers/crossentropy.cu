#include "runtime/kernel.cuh"

extern "C" {
#include "layers/crossentropy.h"
}

enum { MOST_THREADS = 1024, IN_FLIGHT = 4, SUM_THREADS = 1024 };

/* sum of exp(x - most) over the logits that a thread or a warp has read; least detects -inf */
typedef struct {
    float most, least, sum;
} softmax_part;

DEVICE_INLINE softmax_part join(softmax_part a, softmax_part b) {
    float most = fmaxf(a.most, b.most), least = fminf(a.least, b.least);
    if (most == -INFINITY) return {most, least, a.sum + b.sum}; /* nothing read so far, or nothing finite */
    return {most, least, a.sum * __expf(a.most - most) + b.sum * __expf(b.most - most)};
}

DEVICE_INLINE softmax_part warp_join(softmax_part a) {
#pragma unroll
    for (int step = 16; step; step >>= 1)
        a = join(a, {__shfl_xor_sync(~0u, a.most, step), __shfl_xor_sync(~0u, a.least, step),
                     __shfl_xor_sync(~0u, a.sum, step)});
    return a;
}

/* over the block, in a fixed order; every thread gets the result */
DEVICE_INLINE softmax_part block_join(softmax_part a) {
    SHARED(softmax_part, parts, [32]);
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    a = warp_join(a);
    if (lane == 0) parts[warp] = a;
    __syncthreads();
    return warp_join(lane < blockDim.x / 32 ? parts[lane] : softmax_part{-INFINITY, INFINITY, 0});
}

template <int W> DEVICE_INLINE void take(softmax_part *a, const float (&x)[W]) {
    float most = a->most;
#pragma unroll
    for (int k = 0; k < W; k++) most = fmaxf(most, x[k]), a->least = fminf(a->least, x[k]);
    if (most > a->most) a->sum *= __expf(a->most - most);
    a->most = most;
#pragma unroll
    for (int k = 0; k < W; k++) a->sum += __expf(x[k] - most);
}

/* W elements at each of IN_FLIGHT places from v on, blockDim.x * W apart; places at or after `end` are skipped */
template <int W, class L> DEVICE_INLINE void load_some(float (&x)[IN_FLIGHT][W], const L *row, int v, int end) {
    int step = (int)blockDim.x * W;
#pragma unroll
    for (int i = 0; i < IN_FLIGHT; i++)
        if (v + i * step < end) load(x[i], row + v + i * step);
}

template <int W, class E, class L>
DEVICE_INLINE void gradient(E *d, float (&x)[W], int v, int target, float most, float factor, float scale) {
#pragma unroll
    for (int k = 0; k < W; k++) x[k] = __expf(x[k] - most) * factor - (v + k == target ? scale : 0.0f);
    store(d + v, x);
}

/* One block per row, which it reads twice, the second time from L2. E: the gradient's type, L: the logits'. The last V % W
 * elements of a row are processed one at a time. */
template <class E, class L, int W>
static __global__ void __launch_bounds__(MOST_THREADS)
    loss_kernel(E *dlogits, float *losses, const L *logits, i64 ld, const int32_t *targets, int V, float scale) {
    i64 row = blockIdx.x;
    int whole = V / W * W, first = (int)threadIdx.x * W, step = (int)blockDim.x * W, target = targets[row];
    const L *x = logits + row * ld;
    E *d = dlogits ? dlogits + row * ld : NULL;
    bool counted = target >= 0 && target < V;
    if (!counted) {
        float zero[W] = {0};
        if (threadIdx.x == 0) losses[row] = target == -1 ? 0.0f : NAN;
        for (int v = first; d && v < whole; v += step) store(d + v, zero);
        for (int v = whole + (int)threadIdx.x; d && v < V; v += (int)blockDim.x) from_f32(&d[v], 0);
        return;
    }
    softmax_part a = {-INFINITY, INFINITY, 0};
    float some[IN_FLIGHT][W], one[1];
    for (int v = first; v < whole; v += IN_FLIGHT * step) {
        load_some(some, x, v, whole);
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; i++)
            if (v + i * step < whole) take(&a, some[i]);
    }
    for (int v = whole + (int)threadIdx.x; v < V; v += (int)blockDim.x) {
        load(one, x + v);
        take(&a, one);
    }
    float at_target = to_f32(x[target]); /* before the barrier: the gradient may overwrite it */
    a = block_join(a);
    /* -inf comes from an overflow and would count as a probability of 0; NaN and +inf reach the loss without help */
    if (a.least == -INFINITY) a.sum = NAN;
    if (threadIdx.x == 0) losses[row] = logf(a.sum) + a.most - at_target;
    if (!d) return;
    float factor = scale / a.sum;
    for (int v = first; v < whole; v += IN_FLIGHT * step) {
        load_some(some, x, v, whole);
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; i++) {
            int place = v + i * step;
            if (place < whole) gradient<W, E, L>(d, some[i], place, target, a.most, factor, scale);
        }
    }
    for (int v = whole + (int)threadIdx.x; v < V; v += (int)blockDim.x) {
        load(one, x + v);
        gradient<1, E, L>(d, one, v, target, a.most, factor, scale);
    }
}

/* The rows in flight should stay in L2 until they are read again, so fewer long rows run at a time. */
enum { LONG_ROW_BYTES = 160 << 10 };

template <class E, class L, int W>
static status loss_run(device *dev, void *dlogits, float *losses, const crossentropy_logits *l, const int32_t *targets,
                       float scale) {
    i64 V = l->V, most = V * (i64)sizeof(L) > LONG_ROW_BYTES ? MOST_THREADS : MOST_THREADS / 2;
    unsigned threads = even_threads(V / W ? V / W : 1, most);
    RUN(dev, (loss_kernel<E, L, W>), (unsigned)l->N, threads, 0, (E *)dlogits, losses, (const L *)l->x, l->ld, targets,
        (int)V, scale);
    return STATUS_OK;
}

template <class E, class L>
static status loss(device *dev, void *dlogits, float *losses, const crossentropy_logits *l, const int32_t *targets,
                   float scale) {
    bool wide = fits_16(l->t, l->x, l->ld) && fits_16(sizeof(E) == 4 ? F32 : BF16, dlogits, l->ld);
    return wide ? loss_run<E, L, lanes<E>::all>(dev, dlogits, losses, l, targets, scale)
                : loss_run<E, L, 1>(dev, dlogits, losses, l, targets, scale);
}

extern "C" status crossentropy_forward_backward_cuda(device *dev, dtype t, void *dlogits, float *losses,
                                                     const crossentropy_logits *l, const int32_t *targets,
                                                     float scale) {
    if (l->t == BF16) return loss<bf16, bf16>(dev, dlogits, losses, l, targets, scale);
    WITH_TYPE(t, E, return loss<E, float>(dev, dlogits, losses, l, targets, scale));
}

/* one block: N floats are few, and the order is fixed */
static __global__ void __launch_bounds__(SUM_THREADS)
    sum_kernel(double *sum, const float *losses, i64 N, bool accumulate) {
    SHARED(double, parts, [SUM_THREADS]);
    double s = 0;
#pragma unroll 8
    for (i64 n = threadIdx.x; n < N; n += SUM_THREADS) s += losses[n];
    parts[threadIdx.x] = s;
    for (unsigned half = SUM_THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *sum = (accumulate ? *sum : 0) + parts[0];
}

extern "C" status crossentropy_sum_losses_cuda(device *dev, double *sum, const float *losses, i64 N, bool accumulate) {
    RUN(dev, sum_kernel, 1, SUM_THREADS, 0, sum, losses, N, accumulate);
    return STATUS_OK;
}
