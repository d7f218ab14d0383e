#include "layers/embedding.h"

#include <omp.h>

#include "runtime/simd.h"

static status check_shape(const char *name, embedding_shape s, const void *wpe, i64 first) {
    if (s.B < 1 || s.T < 1 || s.C < 1 || s.V < 1)
        FAIL(ARG, "%s: B %ld, T %ld, C %ld, V %ld, expected at least 1", name, s.B, s.T, s.C, s.V);
    if (wpe && (first < 0 || first + s.T > s.positions))
        FAIL(ARG, "%s: positions %ld to %ld, expected within 0 to %ld", name, first, first + s.T, s.positions);
    return STATUS_OK;
}

static status check_tokens(const char *name, const int32_t *tokens, i64 N, i64 V) {
    for (i64 n = 0; n < N; n++)
        if (tokens[n] < 0 || tokens[n] >= V)
            FAIL(DATA, "%s: token %d at %ld, expected 0 to %ld", name, tokens[n], n, V - 1);
    return STATUS_OK;
}

SIMD_CLONES static void add_row(dtype t, void *x, const void *a, const void *b, i64 C) {
    float wide_a[SIMD_CHUNK], wide_b[SIMD_CHUNK], out[SIMD_CHUNK];
    for (i64 c = 0; c < C; c += SIMD_CHUNK) {
        i64 n = simd_chunk(C - c);
        const float *as = simd_view_f32(wide_a, tensor_at(a, t, c), t, n),
                    *bs = simd_view_f32(wide_b, tensor_at(b, t, c), t, n);
        for (i64 i = 0; i < n; i++) out[i] = as[i] + bs[i];
        simd_store_f32(tensor_at(x, t, c), out, t, n);
    }
}

status embedding_forward_cpu(device *dev, dtype t, void *x, const int32_t *tokens, const void *wte, const void *wpe,
                             embedding_shape s, i64 first) {
    (void)dev;
    TRY(check_tokens("embedding_forward", tokens, s.B * s.T, s.V));
#pragma omp parallel for schedule(static)
    for (i64 n = 0; n < s.B * s.T; n++) {
        void *row = tensor_at(x, t, n * s.C);
        const void *token_row = tensor_at(wte, t, tokens[n] * s.C);
        if (wpe) add_row(t, row, token_row, tensor_at(wpe, t, (first + n % s.T) * s.C), s.C);
        else memcpy(row, token_row, (size_t)s.C * dtype_bytes(t));
    }
    return STATUS_OK;
}

status embedding_forward(device *dev, dtype t, void *x, const int32_t *tokens, const void *wte, const void *wpe,
                         embedding_shape s, i64 first) {
    TRY(check_shape("embedding_forward", s, wpe, first));
    return DISPATCH(dev, embedding_forward, t, x, tokens, wte, wpe, s, first);
}

/* columns [first, first + width) of every token's row, in the order of the tokens */
SIMD_CLONES static void add_token_columns(dtype t, float *dwte, const void *dx, const int32_t *tokens, i64 N, i64 C,
                                          i64 first, i64 width) {
    float wide[SIMD_CHUNK];
    for (i64 n = 0; n < N; n++) {
        const float *restrict d = simd_view_f32(wide, tensor_at(dx, t, n * C + first), t, width);
        float *restrict row = dwte + tokens[n] * C + first;
        for (i64 i = 0; i < width; i++) row[i] += d[i];
    }
}

SIMD_CLONES static void add_position(dtype t, float *row, const void *dx, i64 C) {
    float wide[SIMD_CHUNK];
    for (i64 c = 0; c < C; c += SIMD_CHUNK) {
        i64 n = simd_chunk(C - c);
        const float *restrict d = simd_view_f32(wide, tensor_at(dx, t, c), t, n);
        float *restrict to = row + c;
        for (i64 i = 0; i < n; i++) to[i] += d[i];
    }
}

status embedding_backward_cpu(device *dev, dtype t, float *dwte, float *dwpe, const void *dx, const int32_t *tokens,
                              embedding_shape s, bool accumulate_wte, bool accumulate_wpe) {
    TRY(check_tokens("embedding_backward", tokens, s.B * s.T, s.V));
    if (!accumulate_wte) TRY(dev->ops->zero(dev, dwte, (size_t)(s.V * s.C) * 4));
    const i64 width = simd_columns(s.C, omp_get_max_threads());
#pragma omp parallel for schedule(static)
    for (i64 c = 0; c < s.C; c += width)
        add_token_columns(t, dwte, dx, tokens, s.B * s.T, s.C, c, s.C - c < width ? s.C - c : width);
    if (!dwpe) return STATUS_OK;
    if (!accumulate_wpe) TRY(dev->ops->zero(dev, dwpe, (size_t)(s.positions * s.C) * 4));
#pragma omp parallel for schedule(static)
    for (i64 p = 0; p < s.T; p++)
        for (i64 b = 0; b < s.B; b++) add_position(t, dwpe + p * s.C, tensor_at(dx, t, (b * s.T + p) * s.C), s.C);
    return STATUS_OK;
}

status embedding_backward(device *dev, dtype t, float *dwte, float *dwpe, const void *dx, const int32_t *tokens,
                          embedding_shape s, bool accumulate_wte, bool accumulate_wpe) {
    TRY(check_shape("embedding_backward", s, dwpe, 0));
    return DISPATCH(dev, embedding_backward, t, dwte, dwpe, dx, tokens, s, accumulate_wte, accumulate_wpe);
}
