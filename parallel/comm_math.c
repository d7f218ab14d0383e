#include "parallel/comm_math.h"

#include <assert.h>

#include "runtime/simd.h"

typedef struct {
    const void *const *terms;
    int ranks, own;
    dtype wire;
} sum_over;

SIMD_CLONES static void sum_chunk(float *to, sum_over s, i64 first, i64 n, bool accumulate) {
    float sum[SIMD_CHUNK], term[SIMD_CHUNK];
    bf16 rounded[SIMD_CHUNK];
    for (int r = 0; r < s.ranks; r++) {
        const void *x = tensor_at(s.terms[r], r == s.own ? F32 : s.wire, first);
        if (r == s.own && s.wire == BF16) {
            simd_store_f32(rounded, x, BF16, n);
            x = rounded;
        }
        if (r == 0) {
            simd_load_f32(sum, x, s.wire, n);
            continue;
        }
        const float *wide = simd_view_f32(term, x, s.wire, n);
        for (i64 i = 0; i < n; i++) sum[i] += wide[i];
    }
    if (accumulate)
        for (i64 i = 0; i < n; i++) to[i] += sum[i];
    else memcpy(to, sum, (size_t)n * 4);
}

void comm_math_sum(float *to, const void *const *terms, int ranks, int own, dtype wire, i64 count, bool accumulate) {
    assert(ranks > 0);
    sum_over s = {.terms = terms, .ranks = ranks, .own = own, .wire = wire};
    for (i64 i = 0; i < count; i += SIMD_CHUNK) sum_chunk(to + i, s, i, simd_chunk(count - i), accumulate);
}

SIMD_CLONES static void narrow(bf16 *to, const float *from, i64 n) { simd_store_f32(to, from, BF16, n); }
SIMD_CLONES static void widen(float *to, const bf16 *from, i64 n) { simd_load_f32(to, from, BF16, n); }

void comm_math_narrow(bf16 *to, const float *from, i64 count) { narrow(to, from, count); }
void comm_math_widen(float *to, const bf16 *from, i64 count) { widen(to, from, count); }
