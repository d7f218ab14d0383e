#include "layers/norm.h"

#include <math.h>
#include <omp.h>

#include "runtime/simd.h"

/* RMSNorm is LayerNorm with a mean of 0, so both use the same row functions. Sums along a row: f32 lanes within SIMD_CHUNK
 * elements, f64 over the chunks. */

static status check_shape(const char *name, norm_shape s) {
    if (s.N < 1 || s.G < 1 || s.C < 1) FAIL(ARG, "%s: N %ld, G %ld, C %ld, expected at least 1", name, s.N, s.G, s.C);
    if (s.ldx < s.G * s.C || s.ldy < s.G * s.C)
        FAIL(ARG, "%s: row strides %ld and %ld, expected at least G*C = %ld", name, s.ldx, s.ldy, s.G * s.C);
    return STATUS_OK;
}

SIMD_CLONES static void forward_row(dtype t, void *y, float *mean, float *rstd, const void *x, const void *g,
                                    const void *b, i64 C, float eps) {
    float wide_x[SIMD_CHUNK], wide_g[SIMD_CHUNK], wide_b[SIMD_CHUNK], out[SIMD_CHUNK];
    float center = 0;
    if (mean) {
        double sum = 0;
        for (i64 c = 0; c < C; c += SIMD_CHUNK) {
            i64 n = simd_chunk(C - c);
            const float *xs = simd_view_f32(wide_x, tensor_at(x, t, c), t, n);
            float s = 0;
#pragma omp simd reduction(+ : s)
            for (i64 i = 0; i < n; i++) s += xs[i];
            sum += s;
        }
        *mean = center = (float)(sum / (double)C);
    }
    double squares = 0;
    for (i64 c = 0; c < C; c += SIMD_CHUNK) {
        i64 n = simd_chunk(C - c);
        const float *xs = simd_view_f32(wide_x, tensor_at(x, t, c), t, n);
        float s = 0;
#pragma omp simd reduction(+ : s)
        for (i64 i = 0; i < n; i++) s += (xs[i] - center) * (xs[i] - center);
        squares += s;
    }
    float r = (float)(1.0 / sqrt(squares / (double)C + eps));
    *rstd = r;
    for (i64 c = 0; c < C; c += SIMD_CHUNK) {
        i64 n = simd_chunk(C - c);
        const float *xs = simd_view_f32(wide_x, tensor_at(x, t, c), t, n),
                    *gs = simd_view_f32(wide_g, tensor_at(g, t, c), t, n);
        if (b) {
            const float *bs = simd_view_f32(wide_b, tensor_at(b, t, c), t, n);
            for (i64 i = 0; i < n; i++) out[i] = (xs[i] - center) * r * gs[i] + bs[i];
        } else {
            for (i64 i = 0; i < n; i++) out[i] = (xs[i] - center) * r * gs[i];
        }
        simd_store_f32(tensor_at(y, t, c), out, t, n);
    }
}

status norm_forward_cpu(device *dev, dtype t, void *y, norm_statistics saved, const void *x, const norm_layer *n) {
    (void)dev;
    norm_shape s = n->s;
#pragma omp parallel for schedule(static)
    for (i64 i = 0; i < s.N; i++)
        for (i64 k = 0; k < s.G; k++) {
            i64 row = i * s.G + k;
            forward_row(t, tensor_at(y, t, i * s.ldy + k * s.C), saved.mean ? saved.mean + row : NULL, saved.rstd + row,
                        tensor_at(x, t, i * s.ldx + k * s.C), n->g, n->b, s.C, s.eps);
        }
    return STATUS_OK;
}

status norm_forward(device *dev, dtype t, void *y, norm_statistics saved, const void *x, const norm_layer *n) {
    TRY(check_shape("norm_forward", n->s));
    if (!saved.mean && n->b) FAIL(ARG, "norm_forward: an RMS norm (mean NULL) with a bias, expected none");
    return DISPATCH(dev, norm_forward, t, y, saved, x, n);
}

/* With xh = (x - mean) rstd and dxh = dy g:
 *   dx = rstd (dxh - mean_C(dxh) - xh mean_C(dxh xh)) + dres      (RMSNorm: without mean_C(dxh))
 * dx may be dy or dres: a chunk is read whole before it is written. */
SIMD_CLONES static void backward_row(dtype t, void *dx, const void *dres, const void *dy, const void *x, const void *g,
                                     const float *mean, const float *rstd, i64 C) {
    float wide_dy[SIMD_CHUNK], wide_x[SIMD_CHUNK], wide_g[SIMD_CHUNK], out[SIMD_CHUNK];
    float center = mean ? *mean : 0, r = *rstd;
    double sum = 0, dot = 0;
    for (i64 c = 0; c < C; c += SIMD_CHUNK) {
        i64 n = simd_chunk(C - c);
        const float *dys = simd_view_f32(wide_dy, tensor_at(dy, t, c), t, n),
                    *xs = simd_view_f32(wide_x, tensor_at(x, t, c), t, n);
        const float *gs = simd_view_f32(wide_g, tensor_at(g, t, c), t, n);
        float s = 0, d = 0;
#pragma omp simd reduction(+ : s, d)
        for (i64 i = 0; i < n; i++) {
            float dxh = dys[i] * gs[i];
            s += dxh;
            d += dxh * ((xs[i] - center) * r);
        }
        sum += s;
        dot += d;
    }
    float along_one = mean ? (float)(sum / (double)C) : 0, along_x = (float)(dot / (double)C);
    for (i64 c = 0; c < C; c += SIMD_CHUNK) {
        i64 n = simd_chunk(C - c);
        const float *dys = simd_view_f32(wide_dy, tensor_at(dy, t, c), t, n),
                    *xs = simd_view_f32(wide_x, tensor_at(x, t, c), t, n);
        const float *gs = simd_view_f32(wide_g, tensor_at(g, t, c), t, n);
        for (i64 i = 0; i < n; i++) out[i] = r * (dys[i] * gs[i] - along_one - (xs[i] - center) * r * along_x);
        if (dres) {
            const float *res = simd_view_f32(wide_dy, tensor_at(dres, t, c), t, n);
            for (i64 i = 0; i < n; i++) out[i] += res[i];
        }
        simd_store_f32(tensor_at(dx, t, c), out, t, n);
    }
}

/* dg = or += sum over rows of dy xh, db = or += sum of dy, in columns [first, first + width): each column is summed in
 * the order of the rows by whatever thread. */
SIMD_CLONES static void backward_columns(dtype t, const void *dy, const void *x, norm_statistics saved,
                                         const norm_layer *n, i64 first, i64 width) {
    float wide_dy[SIMD_CHUNK], wide_x[SIMD_CHUNK], sum_g[SIMD_CHUNK], sum_b[SIMD_CHUNK];
    float *dg = n->dg + first, *db = n->db ? n->db + first : NULL;
    const norm_shape s = n->s;
    for (i64 i = 0; i < width; i++) sum_g[i] = sum_b[i] = 0;
    for (i64 row = 0; row < s.N; row++)
        for (i64 k = 0; k < s.G; k++) {
            const float *dys = simd_view_f32(wide_dy, tensor_at(dy, t, row * s.ldy + k * s.C + first), t, width);
            const float *xs = simd_view_f32(wide_x, tensor_at(x, t, row * s.ldx + k * s.C + first), t, width);
            float center = saved.mean ? saved.mean[row * s.G + k] : 0, r = saved.rstd[row * s.G + k];
            for (i64 i = 0; i < width; i++) sum_g[i] += dys[i] * ((xs[i] - center) * r);
            if (db)
                for (i64 i = 0; i < width; i++) sum_b[i] += dys[i];
        }
    for (i64 i = 0; i < width; i++) dg[i] = (n->accumulate ? dg[i] : 0) + sum_g[i];
    if (db)
        for (i64 i = 0; i < width; i++) db[i] = (n->accumulate ? db[i] : 0) + sum_b[i];
}

status norm_backward_cpu(device *dev, dtype t, void *dx, const void *dres, const void *dy, const void *x,
                         norm_statistics saved, const norm_layer *n) {
    (void)dev;
    const norm_shape s = n->s;
    /* columns before rows: dx may overwrite dy */
    const i64 width = simd_columns(s.C, omp_get_max_threads());
#pragma omp parallel for schedule(static)
    for (i64 c = 0; c < s.C; c += width) backward_columns(t, dy, x, saved, n, c, s.C - c < width ? s.C - c : width);
#pragma omp parallel for schedule(static)
    for (i64 i = 0; i < s.N; i++)
        for (i64 k = 0; k < s.G; k++) {
            i64 in_x = i * s.ldx + k * s.C, in_y = i * s.ldy + k * s.C, row = i * s.G + k;
            backward_row(t, tensor_at(dx, t, in_x), dres ? tensor_at(dres, t, in_x) : NULL, tensor_at(dy, t, in_y),
                         tensor_at(x, t, in_x), n->g, saved.mean ? saved.mean + row : NULL, saved.rstd + row, s.C);
        }
    return STATUS_OK;
}

status norm_backward(device *dev, dtype t, void *dx, const void *dres, const void *dy, const void *x,
                     norm_statistics saved, const norm_layer *n) {
    TRY(check_shape("norm_backward", n->s));
    if (!saved.mean && n->db) FAIL(ARG, "norm_backward: an RMS norm (mean NULL) with a bias, expected none");
    if (dx == dy && n->s.ldx != n->s.ldy)
        FAIL(ARG, "norm_backward: dx is dy with row strides %ld and %ld, expected the same", n->s.ldx, n->s.ldy);
    return DISPATCH(dev, norm_backward, t, dx, dres, dy, x, saved, n);
}
