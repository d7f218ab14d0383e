#include "runtime/kernel.cuh"

extern "C" {
#include "layers/activation.h"
}

enum { THREADS = 256 };

DEVICE_INLINE float gelu(float x) {
    float u = 0.7978845608f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1.0f + tanhf(u));
}

template <class T, int W> static __global__ void gelu_forward_kernel(T *y, const T *x, i64 n) {
    i64 i = ((i64)blockIdx.x * THREADS + threadIdx.x) * W;
    if (i >= n) return;
    float v[W];
    load(v, x + i);
#pragma unroll
    for (int k = 0; k < W; k++) v[k] = gelu(v[k]);
    store(y + i, v);
}

template <class T, int W> static status gelu_forward_run(device *dev, T *y, const T *x, i64 n) {
    RUN(dev, (gelu_forward_kernel<T, W>), (unsigned)ceil_div(n, THREADS * W), THREADS, 0, y, x, n);
    return STATUS_OK;
}

extern "C" status gelu_forward_cuda(device *dev, dtype t, void *y, const void *x, i64 N, i64 F) {
    i64 n = N * F;
    bool wide = fits_16(t, x, n) && fits_16(t, y, n);
    WITH_TYPE(t, T,
              return wide ? gelu_forward_run<T, lanes<T>::all>(dev, (T *)y, (const T *)x, n)
                          : gelu_forward_run<T, 1>(dev, (T *)y, (const T *)x, n));
}
