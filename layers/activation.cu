#include "runtime/kernel.cuh"

extern "C" {
#include "layers/activation.h"
}

enum { THREADS = 256 };

/* as on the CPU: (1 + tanh(u))/2 is a sigmoid, with one exp and no cancellation */
#define GELU_2C 1.5957691216057308f
#define GELU_K 0.044715f

/* where exp overflows, the quotient is 0, which is right */
DEVICE_INLINE float sigmoid(float x) { return __fdividef(1.0f, 1.0f + expf(-x)); }

template <class T, int W> static __global__ void gelu_forward_kernel(T *y, const T *x, i64 n) {
    i64 i = ((i64)blockIdx.x * THREADS + threadIdx.x) * W;
    if (i >= n) return;
    float v[W];
    load(v, x + i);
#pragma unroll
    for (int k = 0; k < W; k++) v[k] = v[k] * sigmoid(GELU_2C * (v[k] + GELU_K * v[k] * v[k] * v[k]));
    store(y + i, v);
}

template <class T, int W> static __global__ void gelu_backward_kernel(T *dx, const T *dy, const T *x, i64 n) {
    i64 i = ((i64)blockIdx.x * THREADS + threadIdx.x) * W;
    if (i >= n) return;
    float d[W], v[W];
    load(d, dy + i);
    load(v, x + i);
#pragma unroll
    for (int k = 0; k < W; k++) {
        float a = v[k], s = sigmoid(GELU_2C * (a + GELU_K * a * a * a));
        d[k] *= s + a * s * (1.0f - s) * (GELU_2C * (1.0f + 3.0f * GELU_K * a * a));
    }
    store(dx + i, d);
}

/* one block per row, so that no division is needed to find the gate */
template <class T, int W> static __global__ void swiglu_forward_kernel(T *y, const T *x, i64 F) {
    const T *gate = x + blockIdx.x * 2 * F, *up = gate + F;
    y += blockIdx.x * F;
    for (i64 i = threadIdx.x * W; i < F; i += blockDim.x * W) {
        float g[W], u[W];
        load(g, gate + i);
        load(u, up + i);
#pragma unroll
        for (int k = 0; k < W; k++) u[k] *= g[k] * sigmoid(g[k]);
        store(y + i, u);
    }
}

template <class T, int W> static __global__ void swiglu_backward_kernel(T *dx, const T *dy, const T *x, i64 F) {
    const T *gate = x + blockIdx.x * 2 * F, *up = gate + F;
    T *dgate = dx + blockIdx.x * 2 * F, *dup = dgate + F;
    dy += blockIdx.x * F;
    for (i64 i = threadIdx.x * W; i < F; i += blockDim.x * W) {
        float d[W], g[W], u[W];
        load(d, dy + i);
        load(g, gate + i);
        load(u, up + i);
#pragma unroll
        for (int k = 0; k < W; k++) {
            float a = g[k], s = sigmoid(a);
            g[k] = d[k] * u[k] * s * (1.0f + a * (1.0f - s));
            u[k] = d[k] * a * s;
        }
        store(dgate + i, g);
        store(dup + i, u);
    }
}

template <class T, int W> static status gelu_forward_run(device *dev, T *y, const T *x, i64 n) {
    RUN(dev, (gelu_forward_kernel<T, W>), (unsigned)ceil_div(n, THREADS * W), THREADS, 0, y, x, n);
    return STATUS_OK;
}

template <class T, int W> static status gelu_backward_run(device *dev, T *dx, const T *dy, const T *x, i64 n) {
    RUN(dev, (gelu_backward_kernel<T, W>), (unsigned)ceil_div(n, THREADS * W), THREADS, 0, dx, dy, x, n);
    return STATUS_OK;
}

template <class T, int W> static status swiglu_forward_run(device *dev, T *y, const T *x, i64 N, i64 F) {
    RUN(dev, (swiglu_forward_kernel<T, W>), (unsigned)N, even_threads(F / W, THREADS), 0, y, x, F);
    return STATUS_OK;
}

template <class T, int W> static status swiglu_backward_run(device *dev, T *dx, const T *dy, const T *x, i64 N, i64 F) {
    RUN(dev, (swiglu_backward_kernel<T, W>), (unsigned)N, even_threads(F / W, THREADS), 0, dx, dy, x, F);
    return STATUS_OK;
}

extern "C" status activation_gelu_forward_cuda(device *dev, dtype t, void *y, const void *x, i64 N, i64 F) {
    i64 n = N * F;
    bool wide = fits_16(t, x, n) && fits_16(t, y, n);
    WITH_TYPE(t, T,
              return wide ? gelu_forward_run<T, lanes<T>::all>(dev, (T *)y, (const T *)x, n)
                          : gelu_forward_run<T, 1>(dev, (T *)y, (const T *)x, n));
}

extern "C" status activation_gelu_backward_cuda(device *dev, dtype t, void *dx, const void *dy, const void *x, i64 N,
                                                i64 F) {
    i64 n = N * F;
    bool wide = fits_16(t, x, n) && fits_16(t, dy, n) && fits_16(t, dx, n);
    WITH_TYPE(t, T,
              return wide ? gelu_backward_run<T, lanes<T>::all>(dev, (T *)dx, (const T *)dy, (const T *)x, n)
                          : gelu_backward_run<T, 1>(dev, (T *)dx, (const T *)dy, (const T *)x, n));
}

extern "C" status activation_swiglu_forward_cuda(device *dev, dtype t, void *y, const void *x, i64 N, i64 F) {
    bool wide = fits_16(t, x, F) && fits_16(t, y, F);
    WITH_TYPE(t, T,
              return wide ? swiglu_forward_run<T, lanes<T>::all>(dev, (T *)y, (const T *)x, N, F)
                          : swiglu_forward_run<T, 1>(dev, (T *)y, (const T *)x, N, F));
}

extern "C" status activation_swiglu_backward_cuda(device *dev, dtype t, void *dx, const void *dy, const void *x, i64 N,
                                                  i64 F) {
    bool wide = fits_16(t, x, F) && fits_16(t, dy, F) && fits_16(t, dx, F);
    WITH_TYPE(t, T,
              return wide ? swiglu_backward_run<T, lanes<T>::all>(dev, (T *)dx, (const T *)dy, (const T *)x, N, F)
                          : swiglu_backward_run<T, 1>(dev, (T *)dx, (const T *)dy, (const T *)x, N, F));
}
