#include "layers/activation.h"

#include "runtime/simd.h"

/* (1 + tanh(u))/2 = 1/(1 + exp(-2u)): one exp, and no cancellation where tanh is near -1 */
static const float gelu_2c = 1.5957691216057308f; /* 2 sqrt(2/pi) */
static const float gelu_k = 0.044715f;

SIMD_INLINE float sigmoid(float x) { return 1.0f / (1.0f + simd_expf(-x)); }

static status check_shape(const char *name, i64 N, i64 F) {
    if (N < 1 || F < 1) FAIL(ARG, "%s: N %ld, F %ld, expected at least 1", name, N, F);
    return STATUS_OK;
}

SIMD_CLONES static void gelu_forward_chunk(dtype t, void *y, const void *x, i64 n) {
    float wide[SIMD_CHUNK], out[SIMD_CHUNK];
    const float *xs = simd_view_f32(wide, x, t, n);
    for (i64 i = 0; i < n; i++) {
        float a = xs[i];
        out[i] = a * sigmoid(gelu_2c * (a + gelu_k * a * a * a));
    }
    simd_store_f32(y, out, t, n);
}

status activation_gelu_forward_cpu(device *dev, dtype t, void *y, const void *x, i64 N, i64 F) {
    (void)dev;
#pragma omp parallel for schedule(static)
    for (i64 i = 0; i < N * F; i += SIMD_CHUNK)
        gelu_forward_chunk(t, tensor_at(y, t, i), tensor_at(x, t, i), simd_chunk(N * F - i));
    return STATUS_OK;
}

status activation_gelu_forward(device *dev, dtype t, void *y, const void *x, i64 N, i64 F) {
    TRY(check_shape("activation_gelu_forward", N, F));
    return DISPATCH(dev, activation_gelu_forward, t, y, x, N, F);
}

SIMD_CLONES static void gelu_backward_chunk(dtype t, void *dx, const void *dy, const void *x, i64 n) {
    float wide_dy[SIMD_CHUNK], wide_x[SIMD_CHUNK], out[SIMD_CHUNK];
    const float *dys = simd_view_f32(wide_dy, dy, t, n), *xs = simd_view_f32(wide_x, x, t, n);
    for (i64 i = 0; i < n; i++) {
        float a = xs[i];
        float s = sigmoid(gelu_2c * (a + gelu_k * a * a * a));
        float slope = gelu_2c * (1.0f + 3.0f * gelu_k * a * a);
        out[i] = dys[i] * (s + a * s * (1.0f - s) * slope);
    }
    simd_store_f32(dx, out, t, n);
}

status activation_gelu_backward_cpu(device *dev, dtype t, void *dx, const void *dy, const void *x, i64 N, i64 F) {
    (void)dev;
#pragma omp parallel for schedule(static)
    for (i64 i = 0; i < N * F; i += SIMD_CHUNK)
        gelu_backward_chunk(t, tensor_at(dx, t, i), tensor_at(dy, t, i), tensor_at(x, t, i), simd_chunk(N * F - i));
    return STATUS_OK;
}

status activation_gelu_backward(device *dev, dtype t, void *dx, const void *dy, const void *x, i64 N, i64 F) {
    TRY(check_shape("activation_gelu_backward", N, F));
    return DISPATCH(dev, activation_gelu_backward, t, dx, dy, x, N, F);
}

SIMD_CLONES static void swiglu_forward_chunk(dtype t, void *y, const void *gate, const void *up, i64 n) {
    float wide_gate[SIMD_CHUNK], wide_up[SIMD_CHUNK], out[SIMD_CHUNK];
    const float *gates = simd_view_f32(wide_gate, gate, t, n), *ups = simd_view_f32(wide_up, up, t, n);
    for (i64 i = 0; i < n; i++) out[i] = gates[i] * sigmoid(gates[i]) * ups[i];
    simd_store_f32(y, out, t, n);
}

status activation_swiglu_forward_cpu(device *dev, dtype t, void *y, const void *x, i64 N, i64 F) {
    (void)dev;
#pragma omp parallel for schedule(static) collapse(2)
    for (i64 n = 0; n < N; n++)
        for (i64 i = 0; i < F; i += SIMD_CHUNK) {
            i64 gate = n * 2 * F + i;
            swiglu_forward_chunk(t, tensor_at(y, t, n * F + i), tensor_at(x, t, gate), tensor_at(x, t, gate + F),
                                 simd_chunk(F - i));
        }
    return STATUS_OK;
}

status activation_swiglu_forward(device *dev, dtype t, void *y, const void *x, i64 N, i64 F) {
    TRY(check_shape("activation_swiglu_forward", N, F));
    return DISPATCH(dev, activation_swiglu_forward, t, y, x, N, F);
}

SIMD_CLONES static void swiglu_backward_chunk(dtype t, void *dgate, void *dup, const void *dy, const void *gate,
                                              const void *up, i64 n) {
    float wide_dy[SIMD_CHUNK], wide_gate[SIMD_CHUNK], wide_up[SIMD_CHUNK], out_gate[SIMD_CHUNK], out_up[SIMD_CHUNK];
    const float *dys = simd_view_f32(wide_dy, dy, t, n);
    const float *gates = simd_view_f32(wide_gate, gate, t, n), *ups = simd_view_f32(wide_up, up, t, n);
    for (i64 i = 0; i < n; i++) {
        float a = gates[i], s = sigmoid(a);
        out_gate[i] = dys[i] * ups[i] * s * (1.0f + a * (1.0f - s));
        out_up[i] = dys[i] * a * s;
    }
    simd_store_f32(dgate, out_gate, t, n);
    simd_store_f32(dup, out_up, t, n);
}

status activation_swiglu_backward_cpu(device *dev, dtype t, void *dx, const void *dy, const void *x, i64 N, i64 F) {
    (void)dev;
#pragma omp parallel for schedule(static) collapse(2)
    for (i64 n = 0; n < N; n++)
        for (i64 i = 0; i < F; i += SIMD_CHUNK) {
            i64 gate = n * 2 * F + i, up = gate + F;
            swiglu_backward_chunk(t, tensor_at(dx, t, gate), tensor_at(dx, t, up), tensor_at(dy, t, n * F + i),
                                  tensor_at(x, t, gate), tensor_at(x, t, up), simd_chunk(F - i));
        }
    return STATUS_OK;
}

status activation_swiglu_backward(device *dev, dtype t, void *dx, const void *dy, const void *x, i64 N, i64 F) {
    TRY(check_shape("activation_swiglu_backward", N, F));
    return DISPATCH(dev, activation_swiglu_backward, t, dx, dy, x, N, F);
}
