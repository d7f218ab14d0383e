/* The choice of a path (attention.h), and the statistics of queries that both backward paths use.
 *
 * Lower bound of the statistics: the bytes of o and do once, 2*B*T*H*D elements. */
#include "layers/attention.cuh"

enum { THREADS = 256 };

/* LANES threads per query and head; heads are adjacent, as in memory. B*H*padded such groups fill whole blocks. */
template <class T, int W>
static __global__ void statistics_kernel(float2 *statistics, const float *lse, const T *d_o, const T *o,
                                         attention_shape s) {
    constexpr int LANES = W > 1 ? 16 : 32;
    const i64 padded = attention_padded(s), n = ((i64)blockIdx.x * THREADS + threadIdx.x) / LANES;
    const i64 h = n % s.H, i = n / s.H % padded, b = n / s.H / padded;
    const bool there = i < s.Tq;
    const i64 row = (b * s.Tq + i) * s.ldo + h * s.D;
    float sum = 0;
    for (int d = threadIdx.x % LANES * W; there && d < s.D; d += LANES * W) {
        float x[W], y[W];
        load(x, o + row + d);
        load(y, d_o + row + d);
#pragma unroll
        for (int k = 0; k < W; k++) sum = fmaf(x[k], y[k], sum);
    }
#pragma unroll
    for (int step = LANES / 2; step; step >>= 1) sum += __shfl_xor_sync(~0u, sum, step);
    if (threadIdx.x % LANES) return;
    const i64 head = b * s.H + h;
    statistics[head * padded + i] = there ? make_float2(lse[head * s.Tq + i] * LOG2_E, sum) : make_float2(INFINITY, 0);
}

template <class T, int W>
static status statistics_run(device *dev, float2 *statistics, const float *lse, const void *d_o, const void *o,
                             attention_shape s) {
    const i64 threads = s.B * s.H * attention_padded(s) * (W > 1 ? 16 : 32);
    RUN(dev, (statistics_kernel<T, W>), (unsigned)ceil_div(threads, THREADS), THREADS, 0, statistics, lse,
        (const T *)d_o, (const T *)o, s);
    return STATUS_OK;
}

/* whether the heads of rows with this stride can be read 16 bytes at a time */
static bool aligned(dtype t, const void *p, i64 ld, i64 D) { return fits_16(t, p, ld) && fits_16(t, p, D); }

static status make_statistics(device *dev, dtype t, float2 *statistics, const float *lse, const void *d_o,
                              const void *o, attention_shape s) {
    const bool wide = aligned(t, o, s.ldo, s.D) && aligned(t, d_o, s.ldo, s.D);
    WITH_TYPE(t, T,
              return wide ? statistics_run<T, lanes<T>::all>(dev, statistics, lse, d_o, o, s)
                          : statistics_run<T, 1>(dev, statistics, lse, d_o, o, s));
}

/* scale must be positive: the maximum is taken over unscaled scores */
static bool on_tensor_cores(dtype t, const void *q, const void *k, const void *v, const void *o, attention_shape s) {
    return t == BF16 && (s.D == 64 || s.D == 96 || s.D == 128) && s.scale > 0 && aligned(t, q, s.ldq, s.D) &&
           aligned(t, k, s.ldk, s.D) && aligned(t, v, s.ldk, s.D) && aligned(t, o, s.ldo, s.D);
}

extern "C" status attention_choose_cuda(device *dev, attention_kind kind) {
    if constexpr (HAVE_CUDNN) return attention_choose_cudnn(dev, kind == ATTENTION_CUDNN);
    if (kind == ATTENTION_CUDNN)
        FAIL(ARG, "--attention cudnn: this build has no cuDNN (build with cmake -DTALLY_CUDNN=ON); expected own");
    return STATUS_OK;
}

static status check_grid(attention_shape s) {
    if (s.B > MOST_IN_GRID || s.H > MOST_IN_GRID)
        FAIL(ARG, "attention: B %ld, H %ld, expected at most %d each on CUDA", s.B, s.H, MOST_IN_GRID);
    return STATUS_OK;
}

extern "C" status attention_forward_cuda(device *dev, dtype t, void *o, float *lse, const void *q, const void *k,
                                         const void *v, attention_shape s) {
    if constexpr (HAVE_CUDNN)
        if (attention_is_cudnn(dev) && s.Tq == s.Tk) return attention_forward_cudnn(dev, t, o, lse, q, k, v, s);
    TRY(check_grid(s));
    if (attention_is_few(s)) return attention_forward_few(dev, t, o, lse, q, k, v, s);
    if (!on_tensor_cores(t, q, k, v, o, s)) return attention_forward_general(dev, t, o, lse, q, k, v, s);
    return attention_forward_mma(dev, (bf16 *)o, lse, (const bf16 *)q, (const bf16 *)k, (const bf16 *)v, s);
}

extern "C" status attention_backward_cuda(device *dev, dtype t, const attention_gradients *d,
                                          const attention_tensors *x, void *scratch, attention_shape s) {
    if constexpr (HAVE_CUDNN)
        if (attention_is_cudnn(dev) && s.Tq == s.Tk) return attention_backward_cudnn(dev, t, d, x, s);
    float2 *statistics = (float2 *)scratch;
    TRY(check_grid(s));
    TRY(make_statistics(dev, t, statistics, x->lse, d->d_o, x->o, s));
    if (!on_tensor_cores(t, x->q, x->k, x->v, d->d_o, s) || !on_tensor_cores(t, d->dq, d->dk, d->dv, d->d_o, s))
        return attention_backward_general(dev, t, d, x, statistics, s);
    return attention_backward_mma(dev, d, x, statistics, s);
}
