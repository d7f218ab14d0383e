#include "layers/embedding.h"

#include <omp.h>

#include "runtime/simd.h"

static status check_shape(const char *name, token_batch b, const embedding *e, const void *wpe, i64 first) {
    if (b.B < 1 || b.T < 1 || e->C < 1 || e->V < 1)
        FAIL(ARG, "%s: B %ld, T %ld, C %ld, V %ld, expected at least 1", name, b.B, b.T, e->C, e->V);
    if (wpe && (first < 0 || first + b.T > e->positions))
        FAIL(ARG, "%s: positions %ld to %ld, expected within 0 to %ld", name, first, first + b.T, e->positions);
    return STATUS_OK;
}

static status check_tokens(const char *name, const int32_t *tokens, i64 N, i64 V) {
    for (i64 n = 0; n < N; n++)
        if (tokens[n] < 0 || tokens[n] >= V)
            FAIL(DATA, "%s: token %d at %ld, expected 0 to %ld", name, tokens[n], n, V - 1);
    return STATUS_OK;
}

static i64 position_of(const token_batch *b, i64 n) { return n % b->T - (b->starts ? b->starts[n] : 0); }

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

status embedding_forward_cpu(device *dev, dtype t, void *x, token_batch b, const embedding *e, i64 first) {
    (void)dev;
    const i64 N = b.B * b.T, C = e->C;
    TRY(check_tokens("embedding_forward", b.tokens, N, e->V));
#pragma omp parallel for schedule(static)
    for (i64 n = 0; n < N; n++) {
        void *row = tensor_at(x, t, n * C);
        const void *token_row = tensor_at(e->wte, t, b.tokens[n] * C);
        if (e->wpe) add_row(t, row, token_row, tensor_at(e->wpe, t, (first + position_of(&b, n)) * C), C);
        else memcpy(row, token_row, (size_t)C * dtype_bytes(t));
    }
    return STATUS_OK;
}

status embedding_forward(device *dev, dtype t, void *x, token_batch b, const embedding *e, i64 first) {
    TRY(check_shape("embedding_forward", b, e, e->wpe, first));
    return DISPATCH(dev, embedding_forward, t, x, b, e, first);
}

/* adds columns [first, first + width) of every token's row, in the order of the tokens */
SIMD_CLONES static void add_token_columns(dtype t, float *dwte, const void *dx, const int32_t *tokens, i64 N, i64 C,
                                          i64 first, i64 width) {
    float wide[SIMD_CHUNK];
    for (i64 n = 0; n < N; n++) {
        const float *restrict d = simd_view_f32(wide, tensor_at(dx, t, n * C + first), t, width);
        float *restrict row = dwte + tokens[n] * C + first;
        for (i64 i = 0; i < width; i++) row[i] += d[i];
    }
}

/* the same for the rows of positions */
SIMD_CLONES static void add_position_columns(dtype t, float *dwpe, const void *dx, const token_batch *b, i64 C,
                                             i64 first, i64 width) {
    float wide[SIMD_CHUNK];
    for (i64 n = 0; n < b->B * b->T; n++) {
        const float *restrict d = simd_view_f32(wide, tensor_at(dx, t, n * C + first), t, width);
        float *restrict row = dwpe + position_of(b, n) * C + first;
        for (i64 i = 0; i < width; i++) row[i] += d[i];
    }
}

status embedding_backward_cpu(device *dev, dtype t, const void *dx, token_batch b, const embedding *e) {
    const i64 N = b.B * b.T, C = e->C;
    TRY(check_tokens("embedding_backward", b.tokens, N, e->V));
    if (!e->accumulate_wte) TRY(dev->ops->zero(dev, e->dwte, (size_t)(e->V * C) * 4));
    const i64 width = simd_columns(C, omp_get_max_threads());
#pragma omp parallel for schedule(static)
    for (i64 c = 0; c < C; c += width)
        add_token_columns(t, e->dwte, dx, b.tokens, N, C, c, C - c < width ? C - c : width);
    if (!e->dwpe) return STATUS_OK;
    if (!e->accumulate_wpe) TRY(dev->ops->zero(dev, e->dwpe, (size_t)(e->positions * C) * 4));
#pragma omp parallel for schedule(static)
    for (i64 c = 0; c < C; c += width) add_position_columns(t, e->dwpe, dx, &b, C, c, C - c < width ? C - c : width);
    return STATUS_OK;
}

status embedding_backward(device *dev, dtype t, const void *dx, token_batch b, const embedding *e) {
    TRY(check_shape("embedding_backward", b, e, e->dwpe, 0));
    return DISPATCH(dev, embedding_backward, t, dx, b, e);
}
