#include "runtime/kernel.cuh"

extern "C" {
#include "optim/adamw.h"
#include "runtime/philox.h"
}

/* GROUP: the elements that share a block of random numbers */
enum { THREADS = 256, GROUP = 8 };

DEVICE_INLINE bf16 round_by_adding(float x, unsigned add) { /* as simd_bf16_by_adding does on the CPU */
    unsigned bits = __float_as_uint(x);
    return (bf16)((x == x ? bits + add : bits | 0x400000u) >> 16);
}

/* index: global index of the first of the W elements; a multiple of 8 if W is */
template <int W>
DEVICE_INLINE void store_stochastic(bf16 *y, const float (&x)[W], uint64_t seed, uint64_t index, uint64_t stream) {
    philox_block random = philox(seed, index / GROUP, stream);
    pack<bf16, W> p;
#pragma unroll
    for (int k = 0; k < W; k++) {
        unsigned lane = W == GROUP ? k : (unsigned)(index % GROUP);
        unsigned word = lane < 4 ? (lane < 2 ? random.v[0] : random.v[1]) : lane < 6 ? random.v[2] : random.v[3];
        p.v[k] = round_by_adding(x[k], lane % 2 ? word >> 16 : word & 0xffff);
    }
    *(pack<bf16, W> *)y = p;
}

/* f32 needs no rounding */
template <int W> DEVICE_INLINE void store_stochastic(float *y, const float (&x)[W], uint64_t, uint64_t, uint64_t) {
    store(y, x);
}

template <class T, class M> struct tensors {
    T *weights;
    float *master;
    M *m, *v;
    const float *grads;
};

/* elements [i, i + W) */
template <int W, class T, class M>
DEVICE_INLINE void update(const tensors<T, M> &x, i64 i, const adamw_args &a, const step_verdict &s) {
    float w[W], m[W], v[W], g[W];
    load(g, x.grads + i);
    load(m, x.m + i);
    load(v, x.v + i);
    if (x.master) load(w, x.master + i);
    else load(w, x.weights + i);
#pragma unroll
    for (int k = 0; k < W; k++) {
        float gk = g[k] * s.grad_scale;
        m[k] = a.beta1 * m[k] + (1.0f - a.beta1) * gk;
        v[k] = a.beta2 * v[k] + (1.0f - a.beta2) * (gk * gk);
        w[k] -= a.lr * (m[k] * s.m_correction / (sqrtf(v[k] * s.v_correction) + a.eps) + a.decay * w[k]);
    }
    uint64_t index = a.first + (uint64_t)i;
    if (x.master) {
        store(x.master + i, w);
        store(x.weights + i, w);
    } else store_stochastic(x.weights + i, w, a.seed, index, philox_round_stream(s.updates, ROUND_WEIGHT));
    store_stochastic(x.m + i, m, a.seed, index, philox_round_stream(s.updates, ROUND_M));
    store_stochastic(x.v + i, v, a.seed, index, philox_round_stream(s.updates, ROUND_V));
}

template <int W, class T, class M>
static __global__ void adamw_step_kernel(tensors<T, M> x, i64 n, adamw_args a, const step_verdict *verdict) {
    i64 i = ((i64)blockIdx.x * THREADS + threadIdx.x) * W;
    const step_verdict s = *verdict;
    if (i >= n || s.skipped) return;
    if (i + W <= n) update<W>(x, i, a, s);
    else
        for (; i < n; i++) update<1>(x, i, a, s);
}

template <class T, class M>
static status run(device *dev, tensors<T, M> x, i64 n, adamw_args a, const step_verdict *verdict) {
    uintptr_t pointers =
        (uintptr_t)x.weights | (uintptr_t)x.master | (uintptr_t)x.m | (uintptr_t)x.v | (uintptr_t)x.grads;
    if (pointers % 16 == 0 && a.first % GROUP == 0)
        RUN(dev, (adamw_step_kernel<GROUP, T, M>), (unsigned)ceil_div(n, THREADS * GROUP), THREADS, 0, x, n, a,
            verdict);
    else RUN(dev, (adamw_step_kernel<1, T, M>), (unsigned)ceil_div(n, THREADS), THREADS, 0, x, n, a, verdict);
    return STATUS_OK;
}

extern "C" status adamw_step_cuda(device *dev, const adamw_piece *p, adamw_args a, const step_verdict *verdict) {
    WITH_TYPE(p->t, T, WITH_TYPE(p->moments, M, {
                  tensors<T, M> x = {(T *)p->weights, p->master, (M *)p->m, (M *)p->v, p->grads};
                  return run(dev, x, p->n, a, verdict);
              }));
}
