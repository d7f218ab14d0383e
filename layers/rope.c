#include "layers/rope.h"

#include <math.h>

#include "runtime/simd.h"

static double inverse_frequency(i64 j, i64 D, rope_scaling s) {
    double f = pow(s.theta, -2.0 * (double)j / (double)D);
    if (s.factor == 0) return f;
    double wavelength = 2 * M_PI / f;
    if (wavelength < s.original_context / s.high_freq_factor) return f;
    if (wavelength > s.original_context / s.low_freq_factor) return f / s.factor;
    double smooth = (s.original_context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    return (1 - smooth) * f / s.factor + smooth * f;
}

void rope_table(float *cos_table, float *sin_table, i64 positions, i64 D, rope_scaling s) {
    for (i64 j = 0; j < D / 2; j++) {
        double f = inverse_frequency(j, D, s);
        for (i64 p = 0; p < positions; p++) {
            cos_table[p * (D / 2) + j] = (float)cos((double)p * f);
            sin_table[p * (D / 2) + j] = (float)sin((double)p * f);
        }
    }
}

/* one row's G heads; sign -1 rotates back */
SIMD_CLONES static void rotate_row(dtype t, void *x, const float *cosines, const float *sines, float sign, i64 G,
                                   i64 D) {
    float wide[SIMD_CHUNK];
    i64 half = D / 2;
    for (i64 h = 0; h < G; h++) {
        void *head = tensor_at(x, t, h * D);
        if (t == BF16) simd_load_f32(wide, head, t, D);
        float *restrict a = t == F32 ? head : wide, *restrict b = a + half;
        for (i64 j = 0; j < half; j++) {
            float u = a[j], v = b[j], c = cosines[j], s = sign * sines[j];
            a[j] = u * c - v * s;
            b[j] = v * c + u * s;
        }
        if (t == BF16) simd_store_f32(head, wide, t, D);
    }
}

static void rotate(dtype t, void *x, i64 ld, const float *cos_table, const float *sin_table, float sign, i64 B, i64 T,
                   i64 G, i64 D, i64 first) {
#pragma omp parallel for schedule(static)
    for (i64 n = 0; n < B * T; n++) {
        i64 angles = (first + n % T) * (D / 2);
        rotate_row(t, tensor_at(x, t, n * ld), cos_table + angles, sin_table + angles, sign, G, D);
    }
}

static status check_shape(const char *name, i64 ld, i64 B, i64 T, i64 G, i64 D, i64 first) {
    if (B < 1 || T < 1 || G < 1 || first < 0)
        FAIL(ARG, "%s: B %lld, T %lld, G %lld, first %lld, expected at least 1, 1, 1, 0", name, (long long)B,
             (long long)T, (long long)G, (long long)first);
    if (D < 2 || D % 2 || D > SIMD_CHUNK)
        FAIL(ARG, "%s: head size %lld, expected an even number up to %d", name, (long long)D, SIMD_CHUNK);
    if (ld < G * D)
        FAIL(ARG, "%s: row stride %lld, expected at least G*D = %lld", name, (long long)ld, (long long)(G * D));
    return STATUS_OK;
}

static status rope_forward_cpu(device *dev, dtype t, void *x, i64 ld, const float *cos_table, const float *sin_table,
                               i64 B, i64 T, i64 G, i64 D, i64 first) {
    (void)dev;
    rotate(t, x, ld, cos_table, sin_table, 1, B, T, G, D, first);
    return STATUS_OK;
}

status rope_forward(device *dev, dtype t, void *x, i64 ld, const float *cos_table, const float *sin_table, i64 B, i64 T,
                    i64 G, i64 D, i64 first) {
    TRY(check_shape("rope_forward", ld, B, T, G, D, first));
    return DISPATCH(dev, rope_forward, t, x, ld, cos_table, sin_table, B, T, G, D, first);
}

static status rope_backward_cpu(device *dev, dtype t, void *dx, i64 ld, const float *cos_table, const float *sin_table,
                                i64 B, i64 T, i64 G, i64 D) {
    (void)dev;
    rotate(t, dx, ld, cos_table, sin_table, -1, B, T, G, D, 0);
    return STATUS_OK;
}

status rope_backward(device *dev, dtype t, void *dx, i64 ld, const float *cos_table, const float *sin_table, i64 B,
                     i64 T, i64 G, i64 D) {
    TRY(check_shape("rope_backward", ld, B, T, G, D, 0));
    return DISPATCH(dev, rope_backward, t, dx, ld, cos_table, sin_table, B, T, G, D);
}
