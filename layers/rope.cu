#include "runtime/kernel.cuh"

extern "C" {
#include "layers/rope.h"
}

enum { THREADS = 256 };

/* One block per row. A thread rotates the same W pairs of each of its heads, so it reads their angles once. */
template <class E, int W>
static __global__ void rotate_kernel(E *x, const float *cosines, const float *sines, float sign, rope_shape shape,
                                     int D, i64 first) {
    const int half = D / 2, j = threadIdx.x * W, G = (int)shape.G;
    const i64 ld = shape.ld;
    i64 angles = (first + blockIdx.x % (unsigned)shape.T - (shape.starts ? shape.starts[blockIdx.x] : 0)) * half + j;
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
static status rotate_run(device *dev, E *x, const rope *r, rope_shape s, i64 first, float sign) {
    unsigned packs = (unsigned)(r->D / 2 / W);
    i64 sweeps = ceil_div(s.G * packs, THREADS), heads = ceil_div(s.G, sweeps);
    RUN(dev, (rotate_kernel<E, W>), (unsigned)(s.B * s.T), dim3(packs, (unsigned)heads), 0, x, (const float *)r->cos,
        (const float *)r->sin, sign, s, (int)r->D, first);
    return STATUS_OK;
}

static status rotate(device *dev, dtype t, void *x, const rope *r, rope_shape s, i64 first, float sign) {
    i64 half = r->D / 2;
    bool wide = fits_16(t, x, s.ld) && fits_16(t, x, half) && fits_16(F32, r->cos, half) && fits_16(F32, r->sin, half);
    WITH_TYPE(t, E,
              return wide ? rotate_run<E, lanes<E>::all>(dev, (E *)x, r, s, first, sign)
                          : rotate_run<E, 1>(dev, (E *)x, r, s, first, sign));
}

extern "C" status rope_forward_cuda(device *dev, dtype t, void *x, const rope *r, rope_shape s, i64 first) {
    return rotate(dev, t, x, r, s, first, 1);
}

extern "C" status rope_backward_cuda(device *dev, dtype t, void *dx, const rope *r, rope_shape s) {
    return rotate(dev, t, dx, r, s, 0, -1);
}
