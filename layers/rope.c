#include "layers/rope.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/simd.h"

/* the pair of elements, as a fraction, that turns so many times within the original context */
static double pair_that_turns(double turns, i64 D, rope_scaling s) {
    return (double)D * log(s.original_context / (turns * 2 * M_PI)) / (2 * log(s.theta));
}

static double yarn_frequency(double f, i64 j, i64 D, rope_scaling s) {
    double a = pair_that_turns(s.beta_fast, D, s), b = pair_that_turns(s.beta_slow, D, s);
    if (s.truncate) a = floor(a), b = ceil(b);
    a = fmax(a, 0), b = fmin(b, (double)D - 1);
    if (a == b) b += 0.001; /* as the reference does */
    double r = fmin(fmax(((double)j - a) / (b - a), 0), 1);
    return r * f / s.factor + (1 - r) * f;
}

static double inverse_frequency(i64 j, i64 D, rope_scaling s) {
    double f = pow(s.theta, -2.0 * (double)j / (double)D);
    if (s.type == ROPE_DEFAULT || s.type == ROPE_DYNAMIC) return f;
    if (s.type == ROPE_LINEAR) return f / s.factor;
    if (s.type == ROPE_YARN) return yarn_frequency(f, j, D, s);
    double wavelength = 2 * M_PI / f;
    if (wavelength < s.original_context / s.high_freq_factor) return f;
    if (wavelength > s.original_context / s.low_freq_factor) return f / s.factor;
    double smooth = (s.original_context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    return (1 - smooth) * f / s.factor + smooth * f;
}

void rope_table(float *cos_table, float *sin_table, i64 positions, i64 D, rope_scaling s) {
    double scale = s.type == ROPE_YARN ? s.attention_factor : 1;
    for (i64 j = 0; j < D / 2; j++) {
        double f = inverse_frequency(j, D, s);
        for (i64 p = 0; p < positions; p++) {
            cos_table[p * (D / 2) + j] = (float)(scale * cos((double)p * f));
            sin_table[p * (D / 2) + j] = (float)(scale * sin((double)p * f));
        }
    }
}

void rope_layout(rope *r, arena *a, i64 positions, i64 D) {
    size_t bytes = (size_t)(positions * D / 2) * 4;
    *r = (rope){.positions = positions, .D = D};
    r->cos = arena_take(a, MEM_SCRATCH, bytes);
    r->sin = arena_take(a, MEM_SCRATCH, bytes);
}

status rope_fill(const rope *r, device *dev, rope_scaling s) {
    i64 n = r->positions * r->D / 2;
    float *host = malloc((size_t)n * 8);
    status_code st = STATUS_OK;
    if (!host) FAIL_DONE(MEM, "no memory for the RoPE tables of %ld positions", r->positions);
    rope_table(host, host + n, r->positions, r->D, s);
    TRY_DONE(dev->ops->copy(dev, r->cos, host, (size_t)n * 4));
    TRY_DONE(dev->ops->copy(dev, r->sin, host + n, (size_t)n * 4));
done:
    free(host);
    return st;
}

/* the G heads of one row; sign -1 rotates by the negative angle */
SIMD_CLONES static void rotate_row(dtype t, void *x, const float *cosines, const float *sines, float sign, i64 G,
                                   i64 D) {
    float wide[SIMD_CHUNK];
    i64 half = D / 2;
    for (i64 h = 0; h < G; h++) {
        void *head = tensor_at(x, t, h * D);
        if (t == BF16) simd_load_f32(wide, head, t, D);
        float *restrict a = t == BF16 ? wide : head, *restrict b = a + half;
        for (i64 j = 0; j < half; j++) {
            float u = a[j], v = b[j], c = cosines[j], s = sign * sines[j];
            a[j] = u * c - v * s;
            b[j] = v * c + u * s;
        }
        if (t == BF16) simd_store_f32(head, wide, t, D);
    }
}

static void rotate(dtype t, void *x, const rope *r, rope_shape s, i64 first, float sign) {
    i64 half = r->D / 2;
#pragma omp parallel for schedule(static)
    for (i64 n = 0; n < s.B * s.T; n++) {
        i64 angles = (first + n % s.T - (s.starts ? s.starts[n] : 0)) * half;
        rotate_row(t, tensor_at(x, t, n * s.ld), r->cos + angles, r->sin + angles, sign, s.G, r->D);
    }
}

static status check_shape(const char *name, const rope *r, rope_shape s, i64 first) {
    if (s.B < 1 || s.T < 1 || s.G < 1) FAIL(ARG, "%s: B %ld, T %ld, G %ld, expected at least 1", name, s.B, s.T, s.G);
    if (r->D < 2 || r->D % 2 || r->D > SIMD_CHUNK)
        FAIL(ARG, "%s: head size %ld, expected an even number up to %d", name, r->D, SIMD_CHUNK);
    if (s.ld < s.G * r->D) FAIL(ARG, "%s: row stride %ld, expected at least G*D = %ld", name, s.ld, s.G * r->D);
    if (first < 0 || first + s.T > r->positions)
        FAIL(ARG, "%s: positions %ld to %ld, expected within 0 to %ld", name, first, first + s.T, r->positions);
    return STATUS_OK;
}

status rope_forward_cpu(device *dev, dtype t, void *x, const rope *r, rope_shape s, i64 first) {
    (void)dev;
    rotate(t, x, r, s, first, 1);
    return STATUS_OK;
}

status rope_forward(device *dev, dtype t, void *x, const rope *r, rope_shape s, i64 first) {
    TRY(check_shape("rope_forward", r, s, first));
    return DISPATCH(dev, rope_forward, t, x, r, s, first);
}

status rope_backward_cpu(device *dev, dtype t, void *dx, const rope *r, rope_shape s) {
    (void)dev;
    rotate(t, dx, r, s, 0, -1);
    return STATUS_OK;
}

status rope_backward(device *dev, dtype t, void *dx, const rope *r, rope_shape s) {
    TRY(check_shape("rope_backward", r, s, 0));
    return DISPATCH(dev, rope_backward, t, dx, r, s);
}
