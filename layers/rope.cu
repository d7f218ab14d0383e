#include "runtime/kernel.cuh"

extern "C" {
#include "layers/rope.h"
}

enum { THREADS = 256 };

/* A block a row; a thread turns the same W pairs of every head it takes, so that it reads their angles once. */
template <class E, int W>
static __global__ void rotate_kernel(E *x, i64 ld, const float *cosines, const float *sines, float sign, unsigned T,
                                     int G, int D, i64 first) {
    int half = D / 2, j = threadIdx.x * W;
    i64 angles = (first + blockIdx.x % T) * half + j;
    float c[W], s[W];
    load(c, cosines + angles);
    load(s, sines + angles);
    E *a = x + blockIdx.x * ld + j;
    for (int h = threadIdx.y; h < G; h += blockDim.y) {
        float u[W], v[W], p[W], q[W];
        load(u, a + h * D);
        load(v, a + h * D + half);
#pragma unroll
        for (int k = 0; k < W; k++) {
            p[k] = u[k] * c[k] - v[k] * (sign * s[k]);
            q[k] = v[k] * c[k] + u[k] * (sign * s[k]);
        }
        store(a + h * D, p);
        store(a + h * D + half, q);
    }
}

template <class E, int W>
static status rotate_run(device *dev, E *x, i64 ld, const float *cosines, const float *sines, float sign, i64 B, i64 T,
                         i64 G, i64 D, i64 first) {
    unsigned packs = (unsigned)(D / 2 / W);
    i64 sweeps = ceil_div(G * packs, THREADS), heads = ceil_div(G, sweeps);
    RUN(dev, (rotate_kernel<E, W>), (unsigned)(B * T), dim3(packs, (unsigned)heads), 0, x, ld, cosines, sines, sign,
        (unsigned)T, (int)G, (int)D, first);
    return STATUS_OK;
}

static status rotate(device *dev, dtype t, void *x, i64 ld, const float *cosines, const float *sines, float sign, i64 B,
                     i64 T, i64 G, i64 D, i64 first) {
    bool wide = fits_16(t, x, ld) && fits_16(t, x, D / 2) && fits_16(F32, cosines, D / 2) && fits_16(F32, sines, D / 2);
    WITH_TYPE(t, E,
              return wide ? rotate_run<E, lanes<E>::all>(dev, (E *)x, ld, cosines, sines, sign, B, T, G, D, first)
                          : rotate_run<E, 1>(dev, (E *)x, ld, cosines, sines, sign, B, T, G, D, first));
}

extern "C" status rope_forward_cuda(device *dev, dtype t, void *x, i64 ld, const float *cos_table,
                                    const float *sin_table, i64 B, i64 T, i64 G, i64 D, i64 first) {
    return rotate(dev, t, x, ld, cos_table, sin_table, 1, B, T, G, D, first);
}

extern "C" status rope_backward_cuda(device *dev, dtype t, void *dx, i64 ld, const float *cos_table,
                                     const float *sin_table, i64 B, i64 T, i64 G, i64 D) {
    return rotate(dev, t, dx, ld, cos_table, sin_table, -1, B, T, G, D, 0);
}
