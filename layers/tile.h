/* Small f32 tiles that stay in cache: widen, transpose, multiply. For kernels whose matmuls are too small, and too interleaved
 * with other work, for a GEMM library. */
#ifndef TALLY_TILE_H
#define TALLY_TILE_H

#include <stdbool.h>

#include "runtime/simd.h"

enum { TILE_ROWS = 6, TILE_COLUMNS = 16 }; /* 6x16 sums fill AVX2's registers; widths N are multiples of 16 */

static inline i64 tile_padded(i64 n) { return (n + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS; }

typedef struct {
    float *x;
    i64 ld; /* row stride, elements */
} tile_view;

#ifdef TALLY_TARGET_CLONES
#define TILE_W 16
#define TILE_TARGET __attribute__((target("arch=x86-64-v4")))
#include "layers/tile_kernel.h"
#define TILE_W 8
#define TILE_TARGET __attribute__((target("arch=x86-64-v3")))
#include "layers/tile_kernel.h"
#endif
#define TILE_W 4
#define TILE_TARGET
#include "layers/tile_kernel.h"

#ifdef TALLY_TARGET_CLONES
/* the features that x86-64-v4 and -v3 add to the level below; clang 14 takes no levels here */
static inline bool tile_has_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}

static inline bool tile_has_v4(void) {
    return tile_has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

/* C[M,N] = A[M,K] B[K,N], or += where accumulate. A is stored [K,M] where trans_a. N is a
 * multiple of 16. Each sum runs over k in order, for every M and N. The kernels differ only in their vector width:
 * target_clones cannot give each clone its own vector type. */
static inline void tile_product(tile_view C, tile_view A, bool trans_a, tile_view B, i64 M, i64 N, i64 K,
                                bool accumulate) {
#ifdef TALLY_TARGET_CLONES
    if (tile_has_v4()) {
        tile_product16(C, A, trans_a, B, M, N, K, accumulate);
        return;
    }
    if (tile_has_v3()) {
        tile_product8(C, A, trans_a, B, M, N, K, accumulate);
        return;
    }
#endif
    tile_product4(C, A, trans_a, B, M, N, K, accumulate);
}

/* y[padded rows, Dp] = scale * x[rows, D] widened; x of dtype t with row stride ld; the padding is zero */
SIMD_CLONES static void tile_load(float *y, const void *x, dtype t, i64 ld, i64 rows, i64 D, float scale) {
    i64 Dp = tile_padded(D);
    for (i64 r = 0; r < rows; r++, y += Dp) {
        simd_load_f32(y, tensor_at(x, t, r * ld), t, D);
        for (i64 d = 0; scale != 1 && d < D; d++) y[d] *= scale;
        for (i64 d = D; d < Dp; d++) y[d] = 0;
    }
    memset(y, 0, (size_t)((tile_padded(rows) - rows) * Dp) * sizeof *y);
}

/* Prefetches rows for a later tile_load. They lie too far apart for the hardware prefetcher. */
static inline void tile_prefetch(const void *x, dtype t, i64 ld, i64 rows, i64 D) {
    for (i64 r = 0; r < rows; r++)
        for (i64 byte = 0; byte < D * (i64)dtype_bytes(t); byte += 64)
            __builtin_prefetch((const char *)tensor_at(x, t, r * ld) + byte, 0, 2);
}

/* y[Dp, ldy] = transpose of x[rows, Dp]; rows and Dp are multiples of 4. By 4x4 blocks: eight shuffles each */
static void tile_transpose(float *y, i64 ldy, const float *x, i64 Dp, i64 rows) {
    typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));
    for (i64 r = 0; r < rows; r += 4) {
        for (i64 d = 0; d < Dp; d += 4) {
            const float *from = x + r * Dp + d;
            float *to = y + d * ldy + r;
            v4 a = *(const v4 *)from, b = *(const v4 *)(from + Dp);
            v4 c = *(const v4 *)(from + 2 * Dp), e = *(const v4 *)(from + 3 * Dp);
            v4 ac = {a[0], c[0], a[1], c[1]}, be = {b[0], e[0], b[1], e[1]};
            v4 ac_high = {a[2], c[2], a[3], c[3]}, be_high = {b[2], e[2], b[3], e[3]};
            *(v4 *)to = (v4){ac[0], be[0], ac[1], be[1]};
            *(v4 *)(to + ldy) = (v4){ac[2], be[2], ac[3], be[3]};
            *(v4 *)(to + 2 * ldy) = (v4){ac_high[0], be_high[0], ac_high[1], be_high[1]};
            *(v4 *)(to + 3 * ldy) = (v4){ac_high[2], be_high[2], ac_high[3], be_high[3]};
        }
    }
}

#endif
