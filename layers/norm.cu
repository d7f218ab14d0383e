#include "runtime/kernel.cuh"

extern "C" {
#include "layers/norm.h"
}

/* A row is kept in the registers of LANES lanes of a warp (8, 16, 32) or of several whole warps, in P packs of W elements per
 * thread, so that it is read once. A block takes several rows side by side. Longer rows have their own kernels at the end. */
/* KEPT, SCALARS: P, limited by the registers */
enum { THREADS = 256, WARPS = THREADS / 32, KEPT = 4, KEPT_WITH_DB = 3, SCALARS = 12 };

/* a thread's place: lane of `width` along its row, row `group` of the block's `groups` */
typedef struct {
    int lane, width, group, groups;
} place;

template <int LANES> DEVICE_INLINE place find_place(int warps) {
    int width = LANES * warps, group = (int)threadIdx.x / width;
    return {(int)threadIdx.x - group * width, width, group, (int)blockDim.x / width};
}

/* Sums each of n values over the row, in a fixed order; all threads of the row get the sums. With more than one warp per row
 * all threads of the block must call it. */
template <int LANES, int n> DEVICE_INLINE void row_sum(float (&x)[n], int warps) {
    SHARED(float, part, [WARPS][n]);
#pragma unroll
    for (int step = LANES / 2; step; step >>= 1)
#pragma unroll
        for (int i = 0; i < n; i++) x[i] += __shfl_xor_sync(~0u, x[i], step);
    if (LANES < 32 || warps == 1) return;
    int warp = (int)threadIdx.x / 32, first = warp / warps * warps;
    __syncthreads(); /* part may still be in use by the previous sum */
    if (threadIdx.x % 32 == 0)
#pragma unroll
        for (int i = 0; i < n; i++) part[warp][i] = x[i];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < n; i++) {
        x[i] = 0;
        for (int w = 0; w < warps; w++) x[i] += part[first + w][i];
    }
}

template <class E, int W, int P, int LANES>
static __global__ void __launch_bounds__(THREADS)
    forward_kernel(E *y, float *mean, float *rstd, const E *x, const E *g, const E *b, norm_shape s, int warps) {
    place at = find_place<LANES>(warps);
    unsigned row = blockIdx.x * at.groups + at.group, n = row / (unsigned)s.G, k = row - n * (unsigned)s.G;
    bool valid = row < (unsigned)(s.N * s.G);
    int end = valid ? (int)s.C : 0, step = at.width * W, first = at.lane * W;
    x += n * s.ldx + k * s.C;
    y += n * s.ldy + k * s.C;
    float v[P][W], sum[1] = {0}, center = 0;
#pragma unroll
    for (int p = 0; p < P; p++)
        if (first + p * step < end) load(v[p], x + first + p * step);
    if (mean) {
#pragma unroll
        for (int p = 0; p < P; p++)
            if (first + p * step < end)
#pragma unroll
                for (int i = 0; i < W; i++) sum[0] += v[p][i];
        row_sum<LANES>(sum, warps);
        center = sum[0] / s.C;
        sum[0] = 0;
    }
#pragma unroll
    for (int p = 0; p < P; p++)
        if (first + p * step < end)
#pragma unroll
            for (int i = 0; i < W; i++) v[p][i] -= center, sum[0] += v[p][i] * v[p][i];
    row_sum<LANES>(sum, warps);
    float r = rsqrtf(sum[0] / s.C + s.eps);
    if (valid && at.lane == 0) {
        if (mean) mean[row] = center;
        rstd[row] = r;
    }
#pragma unroll
    for (int p = 0; p < P; p++) {
        int c = first + p * step;
        if (c >= end) continue;
        float gain[W], bias[W];
        load(gain, g + c);
        if (b) load(bias, b + c);
#pragma unroll
        for (int i = 0; i < W; i++) v[p][i] = v[p][i] * r * gain[i] + (b ? bias[i] : 0.0f);
        store(y + c, v[p]);
    }
}

/* One pass over dy and x. A block takes every gridDim.x-th set of rows. Each thread keeps dg and db of its columns; the block
 * adds them and writes one row of partial sums [gridDim.x,C]. CENTERED: LayerNorm, with db. */
template <class E, int W, int P, int LANES, bool CENTERED>
static __global__ void __launch_bounds__(THREADS, 2)
    backward_kernel(E *dx, float *part_g, float *part_b, const E *dres, const E *dy, const E *x, const E *g,
                    const float *mean, const float *rstd, norm_shape s, int warps) {
    SHARED(float, columns, [THREADS * W]);
    place at = find_place<LANES>(warps);
    int step = at.width * W, first = at.lane * W;
    unsigned rows = (unsigned)(s.N * s.G);
    float dg[P][W] = {}, db[CENTERED ? P : 1][W] = {};
    for (unsigned base = blockIdx.x * at.groups; base < rows; base += gridDim.x * at.groups) {
        unsigned row = base + at.group, n = row / (unsigned)s.G, k = row - n * (unsigned)s.G;
        int end = row < rows ? (int)s.C : 0;
        i64 in_x = n * s.ldx + k * s.C + first, in_y = n * s.ldy + k * s.C + first;
        float center = CENTERED && end ? mean[row] : 0, r = end ? rstd[row] : 0, sums[2] = {0, 0};
        pack<E, W> dys[P], xs[P], ress[P];
#pragma unroll
        for (int p = 0; p < P; p++)
            if (first + p * step < end) {
                dys[p] = *(const pack<E, W> *)(dy + in_y + p * step);
                xs[p] = *(const pack<E, W> *)(x + in_x + p * step);
            }
#pragma unroll
        for (int p = 0; p < P; p++) {
            if (first + p * step >= end) continue;
            float gain[W];
            load(gain, g + first + p * step);
#pragma unroll
            for (int i = 0; i < W; i++) {
                float d = to_f32(dys[p].v[i]), xh = (to_f32(xs[p].v[i]) - center) * r, dxh = d * gain[i];
                dg[p][i] += d * xh;
                if (CENTERED) db[p][i] += d, sums[1] += dxh;
                sums[0] += dxh * xh;
            }
        }
/* prefetched during the sums; there are too few registers to load it together with dy and x */
#pragma unroll
        for (int p = 0; p < P; p++)
            if (dres && first + p * step < end) ress[p] = *(const pack<E, W> *)(dres + in_x + p * step);
        row_sum<LANES>(sums, warps);
        float along_x = sums[0] / s.C, along_one = sums[1] / s.C;
#pragma unroll
        for (int p = 0; p < P; p++) {
            if (first + p * step >= end) continue;
            float out[W], gain[W];
            load(gain, g + first + p * step);
#pragma unroll
            for (int i = 0; i < W; i++) {
                float xh = (to_f32(xs[p].v[i]) - center) * r;
                out[i] = r * (to_f32(dys[p].v[i]) * gain[i] - along_one - xh * along_x);
                if (dres) out[i] += to_f32(ress[p].v[i]);
            }
            store(dx + in_x + p * step, out);
        }
    }
#pragma unroll
    for (int p = 0; p < P; p++)
#pragma unroll
        for (int which = 0; which < 1 + CENTERED; which++) {
            int c = first + p * step;
            float(&mine)[W] = which ? db[CENTERED ? p : 0] : dg[p];
            if (c - first >= s.C) break; /* the same for all threads */
            __syncthreads();
            store(columns + threadIdx.x * W, mine);
            __syncthreads();
            if (at.group || c >= s.C) continue;
            for (int other = 1; other < at.groups; other++) {
                float theirs[W];
                load(theirs, columns + (other * at.width + at.lane) * W);
#pragma unroll
                for (int i = 0; i < W; i++) mine[i] += theirs[i];
            }
            store((which ? part_b : part_g) + blockIdx.x * s.C + c, mine);
        }
}

/* dg (and, of blockIdx.y 1, db) of 32 columns: each warp adds up its share of the partial rows, in order */
static __global__ void __launch_bounds__(THREADS)
    add_parts_kernel(float *dg, float *db, const float *part_g, const float *part_b, int parts, i64 C,
                     bool accumulate) {
    SHARED(float, sums, [WARPS][32]);
    const float *part = blockIdx.y ? part_b : part_g;
    float *to = blockIdx.y ? db : dg, sum = 0;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, share = (parts + WARPS - 1) / WARPS;
    i64 c = blockIdx.x * 32 + lane;
#pragma unroll 8
    for (int i = warp * share; i < parts && i < (warp + 1) * share; i++) sum += c < C ? part[i * C + c] : 0;
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp || c >= C) return;
    for (int w = 1; w < WARPS; w++) sum += sums[w][lane];
    to[c] = (accumulate ? to[c] : 0) + sum;
}

/* --- rows too long for registers: one block per row, read from memory again in each pass --- */

template <class E, int W>
static __global__ void __launch_bounds__(THREADS)
    long_forward_kernel(E *y, float *mean, float *rstd, const E *x, const E *g, const E *b, norm_shape s) {
    i64 row = blockIdx.x, n = row / s.G, k = row - n * s.G, first = threadIdx.x * W, step = THREADS * W;
    float v[W], sum = 0, center = 0;
    x += n * s.ldx + k * s.C;
    y += n * s.ldy + k * s.C;
    for (i64 c = first; mean && c < s.C; c += step) {
        load(v, x + c);
#pragma unroll
        for (int i = 0; i < W; i++) sum += v[i];
    }
    if (mean) center = block_sum(sum) / s.C;
    sum = 0;
    for (i64 c = first; c < s.C; c += step) {
        load(v, x + c);
#pragma unroll
        for (int i = 0; i < W; i++) sum += (v[i] - center) * (v[i] - center);
    }
    float r = rsqrtf(block_sum(sum) / s.C + s.eps);
    if (threadIdx.x == 0) {
        if (mean) mean[row] = center;
        rstd[row] = r;
    }
    for (i64 c = first; c < s.C; c += step) {
        float gain[W], bias[W];
        load(v, x + c);
        load(gain, g + c);
        if (b) load(bias, b + c);
#pragma unroll
        for (int i = 0; i < W; i++) v[i] = (v[i] - center) * r * gain[i] + (b ? bias[i] : 0.0f);
        store(y + c, v);
    }
}

/* adds to the block's row of partial sums; each thread has its own columns */
template <int W> DEVICE_INLINE void add_part(float *part, const float (&x)[W], bool first_row) {
    float sum[W] = {0};
    if (!first_row) load(sum, part);
#pragma unroll
    for (int i = 0; i < W; i++) sum[i] += x[i];
    store(part, sum);
}

template <class E, int W>
static __global__ void __launch_bounds__(THREADS)
    long_backward_kernel(E *dx, float *part_g, float *part_b, const E *dres, const E *dy, const E *x, const E *g,
                         const float *mean, const float *rstd, norm_shape s) {
    i64 first = threadIdx.x * W, step = THREADS * W;
    part_g += blockIdx.x * s.C;
    part_b += blockIdx.x * s.C;
    for (i64 row = blockIdx.x; row < s.N * s.G; row += gridDim.x) {
        i64 n = row / s.G, k = row - n * s.G, in_x = n * s.ldx + k * s.C, in_y = n * s.ldy + k * s.C;
        float center = mean ? mean[row] : 0, r = rstd[row], one = 0, dot = 0, d[W], v[W], gain[W], res[W];
        for (i64 c = first; c < s.C; c += step) {
            load(d, dy + in_y + c);
            load(v, x + in_x + c);
            load(gain, g + c);
#pragma unroll
            for (int i = 0; i < W; i++) {
                float xh = (v[i] - center) * r;
                one += d[i] * gain[i];
                dot += d[i] * gain[i] * xh;
                v[i] = d[i] * xh;
            }
            add_part(part_g + c, v, row == blockIdx.x);
            if (mean) add_part(part_b + c, d, row == blockIdx.x);
        }
        float along_x = block_sum(dot) / s.C, along_one = mean ? block_sum(one) / s.C : 0;
        for (i64 c = first; c < s.C; c += step) {
            load(d, dy + in_y + c);
            load(v, x + in_x + c);
            load(gain, g + c);
            if (dres) load(res, dres + in_x + c);
#pragma unroll
            for (int i = 0; i < W; i++)
                v[i] = r * (d[i] * gain[i] - along_one - (v[i] - center) * r * along_x) + (dres ? res[i] : 0.0f);
            store(dx + in_x + c, v);
        }
    }
}

/* --- launches --- */

template <class E> struct forward_args {
    E *y;
    float *mean, *rstd;
    const E *x, *g, *b;
    norm_shape s;
};

template <class E, bool CENTERED> struct backward_args {
    E *dx;
    float *dg, *db, *part_g, *part_b;
    const E *dres, *dy, *x, *g;
    const float *mean, *rstd;
    norm_shape s;
    bool accumulate;
};

template <class E, int W, int P, int LANES> static status kept_run(device *dev, forward_args<E> a, int warps) {
    int groups = LANES < 32 ? THREADS / LANES : WARPS / warps;
    RUN(dev, (forward_kernel<E, W, P, LANES>), (unsigned)ceil_div(a.s.N * a.s.G, groups),
        (unsigned)(groups * LANES * warps), 0, a.y, a.mean, a.rstd, a.x, a.g, a.b, a.s, warps);
    return STATUS_OK;
}

/* Two blocks per multiprocessor; fewer if rows or scratch do not suffice. */
template <class E, bool CENTERED>
static status take_parts(device *dev, backward_args<E, CENTERED> *a, i64 groups, i64 *parts) {
    void *scratch;
    size_t row = (size_t)a->s.C * (1 + CENTERED) * sizeof(float);
    i64 rows = ceil_div(a->s.N * a->s.G, groups), fit = (i64)(CUDA_SCRATCH_BYTES / row);
    *parts = 2 * cuda_of(dev)->multiprocessors;
    if (*parts > rows) *parts = rows;
    if (*parts > fit) *parts = fit ? fit : 1;
    TRY(cuda_scratch(dev, &scratch, (size_t)*parts * row));
    a->part_g = (float *)scratch;
    a->part_b = a->part_g + *parts * a->s.C;
    return STATUS_OK;
}

template <class E, bool CENTERED> static status add_parts(device *dev, backward_args<E, CENTERED> a, i64 parts) {
    dim3 grid((unsigned)ceil_div(a.s.C, 32), a.mean && a.db ? 2 : 1);
    RUN(dev, add_parts_kernel, grid, THREADS, 0, a.dg, a.db, a.part_g, a.part_b, (int)parts, a.s.C, a.accumulate);
    return STATUS_OK;
}

template <class E, int W, int P, int LANES, bool CENTERED>
static status kept_run(device *dev, backward_args<E, CENTERED> a, int warps) {
    int groups = LANES < 32 ? THREADS / LANES : WARPS / warps;
    i64 parts;
    TRY(take_parts(dev, &a, groups, &parts));
    RUN(dev, (backward_kernel<E, W, P, LANES, CENTERED>), (unsigned)parts, (unsigned)(groups * LANES * warps), 0, a.dx,
        a.part_g, a.part_b, a.dres, a.dy, a.x, a.g, a.mean, a.rstd, a.s, warps);
    return add_parts(dev, a, parts);
}

template <class E, int W> static status long_run(device *dev, forward_args<E> a) {
    RUN(dev, (long_forward_kernel<E, W>), (unsigned)(a.s.N * a.s.G), THREADS, 0, a.y, a.mean, a.rstd, a.x, a.g, a.b,
        a.s);
    return STATUS_OK;
}

template <class E, int W, bool CENTERED> static status long_run(device *dev, backward_args<E, CENTERED> a) {
    i64 parts;
    TRY(take_parts(dev, &a, 1, &parts));
    RUN(dev, (long_backward_kernel<E, W>), (unsigned)parts, THREADS, 0, a.dx, a.part_g, a.part_b, a.dres, a.dy, a.x,
        a.g, a.mean, a.rstd, a.s);
    return add_parts(dev, a, parts);
}

template <class E, int P, class A> static status choose(device *dev, A a, bool wide) {
    enum { W = lanes<E>::all };
    i64 C = a.s.C, warps = ceil_div(C, 32 * (wide ? W * P : SCALARS));
    if (a.s.N * a.s.G > INT32_MAX) FAIL(ARG, "norm: N*G %ld, expected at most %d on CUDA", a.s.N * a.s.G, INT32_MAX);
    if (warps > WARPS) return wide ? long_run<E, W>(dev, a) : long_run<E, 1>(dev, a);
    if (!wide) return kept_run<E, 1, SCALARS, 32>(dev, a, (int)warps);
    if (C <= 8 * W) return kept_run<E, W, 1, 8>(dev, a, 1);
    if (C <= 16 * W) return kept_run<E, W, 1, 16>(dev, a, 1);
    return kept_run<E, W, P, 32>(dev, a, (int)warps);
}

extern "C" status norm_forward_cuda(device *dev, dtype t, void *y, norm_statistics saved, const void *x,
                                    const norm_layer *n) {
    const norm_shape s = n->s;
    bool wide = fits_16(t, x, s.ldx) && fits_16(t, y, s.ldy) && fits_16(t, n->g, s.C) && fits_16(t, n->b, s.C);
    WITH_TYPE(t, E,
              forward_args<E> a{(E *)y, saved.mean, saved.rstd, (const E *)x, (const E *)n->g, (const E *)n->b, s};
              return choose<E, KEPT>(dev, a, wide));
}

template <class E, int P, bool CENTERED>
static status backward(device *dev, void *dx, const void *dres, const void *dy, const void *x, norm_statistics saved,
                       const norm_layer *n, bool wide) {
    backward_args<E, CENTERED> a = {
        (E *)dx,      n->dg,           n->db,      NULL,       NULL, (const E *)dres, (const E *)dy,
        (const E *)x, (const E *)n->g, saved.mean, saved.rstd, n->s, n->accumulate};
    return choose<E, P>(dev, a, wide);
}

extern "C" status norm_backward_cuda(device *dev, dtype t, void *dx, const void *dres, const void *dy, const void *x,
                                     norm_statistics saved, const norm_layer *n) {
    const norm_shape s = n->s;
    bool wide = fits_16(t, x, s.ldx) && fits_16(t, dx, s.ldx) && fits_16(t, dres, s.ldx) && fits_16(t, dy, s.ldy) &&
                fits_16(t, n->g, s.C);
    WITH_TYPE(t, E,
              return saved.mean ? backward<E, KEPT_WITH_DB, true>(dev, dx, dres, dy, x, saved, n, wide)
                                : backward<E, KEPT, false>(dev, dx, dres, dy, x, saved, n, wide));
}
