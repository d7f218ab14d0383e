#include "runtime/gemm_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 70, PAD = 3, ROW = LARGEST + PAD };

/* a GEMM as the trainer calls it; d_f32: D is f32 for every dtype of A and B */
typedef struct {
    const char *name;
    bool trans_a, trans_b, weight, d_f32, bias, residual, in_place, accumulate;
} use;

static const use uses[] = {
    {.name = "forward with bias and residual", .trans_b = true, .weight = true, .bias = true, .residual = true},
    {.name = "forward with residual in D", .trans_b = true, .weight = true, .residual = true, .in_place = true},
    {.name = "logits", .trans_b = true, .weight = true, .d_f32 = true},
    {.name = "input gradient", .weight = true},
    {.name = "weight gradient", .trans_a = true, .d_f32 = true},
    {.name = "weight gradient, accumulated", .trans_a = true, .d_f32 = true, .accumulate = true},
};

/* M, N, K: one row, one column, less than a vector, and vectors with remainders */
static const i64 shapes[][3] = {{1, 37, 5}, {38, 1, 19}, {3, 5, 70}, {35, 65, 41}};

typedef struct {
    float a[ROW * ROW], b[ROW * ROW], d[ROW * ROW], residual[ROW * ROW], bias[ROW]; /* of the operands' dtype */
    float a_value[LARGEST * LARGEST], b_value[LARGEST * LARGEST];                   /* op(A) [M,K], op(B) [K,N] */
} matrices;

/* the largest values; of two factors one is small */
enum { SMALL = 7, LARGE_BF16 = 127, LARGE_F32 = 4095 };

/* integers of both signs up to most, the same for the same seed, row and column */
static float integer_at(uint32_t seed, i64 row, i64 column, int most) {
    uint32_t h = (seed + (uint32_t)row * 131u + (uint32_t)column) * 2654435761u;
    h ^= h >> 15;
    h *= 2246822519u;
    return (float)((int)((h ^ h >> 13) % (uint32_t)(2 * most + 1)) - most);
}

static void put(void *x, dtype t, i64 index, float value) {
    if (t == BF16) ((bf16 *)x)[index] = bf16_from_f32(value);
    else ((float *)x)[index] = value;
}

static float get(const void *x, dtype t, i64 index) {
    return t == BF16 ? bf16_to_f32(((const bf16 *)x)[index]) : ((const float *)x)[index];
}

static void fill(matrices *x, const gemm_args *g) {
    int large = g->ab == BF16 ? LARGE_BF16 : LARGE_F32;
    memset(x, 0, sizeof *x); /* AMX reads the gaps between the rows of A: they must be finite in any dtype */
    for (i64 k = 0; k < g->K; k++) {
        for (i64 m = 0; m < g->M; m++) {
            float value = integer_at(1, m, k, k % 2 ? SMALL : large);
            x->a_value[m * g->K + k] = value;
            put(x->a, g->ab, g->trans_a ? k * g->lda + m : m * g->lda + k, value);
        }
        for (i64 n = 0; n < g->N; n++) {
            float value = integer_at(2, k, n, k % 2 ? large : SMALL);
            x->b_value[k * g->N + n] = value;
            put(x->b, g->ab, g->trans_b ? n * g->ldb + k : k * g->ldb + n, value);
        }
    }
    for (i64 n = 0; n < g->N; n++) put(x->bias, g->ab, n, integer_at(3, 0, n, SMALL));
    for (i64 i = 0; i < g->M * g->ldd; i++) {
        put(x->residual, g->d, i, integer_at(4, 0, i, LARGE_BF16));
        put(x->d, g->d, i, integer_at(5, 0, i, LARGE_BF16));
    }
}

static status wrong_element(const device *dev, const char *library, const use *u, const gemm_args *g, i64 m, i64 n,
                            float got, float expected) {
    char where[64];
    if (n < g->N) snprintf(where, sizeof where, "D[%d,%d]", (int)m, (int)n);
    else snprintf(where, sizeof where, "the memory between rows %d and %d of D", (int)m, (int)m + 1);
    FAIL(DEVICE,
         "%s with %s computes wrong results in matmuls: %s, M %d, N %d, K %d, A %s with row stride %d, B %s with row "
         "stride "
         "%d, D with row stride %d, %s to %s: %s is %.9g, expected %.9g; install another version of the library, or "
         "limit its instruction set, for example with ONEDNN_MAX_CPU_ISA=AVX2",
         library, dev->isa, u->name, (int)g->M, (int)g->N, (int)g->K, g->trans_a ? "transposed" : "not transposed",
         (int)g->lda, g->trans_b ? "transposed" : "not transposed", (int)g->ldb, (int)g->ldd, dtype_name(g->ab),
         dtype_name(g->d), where, got, expected);
}

static status compare(const device *dev, const char *library, const use *u, const gemm_args *g, const matrices *x) {
    for (i64 m = 0; m < g->M; m++) {
        float expected[ROW] = {0};
        for (i64 k = 0; k < g->K; k++)
            for (i64 n = 0; n < g->N; n++) expected[n] += x->a_value[m * g->K + k] * x->b_value[k * g->N + n];
        for (i64 n = 0; n < g->ldd; n++) {
            i64 i = m * g->ldd + n;
            float before = integer_at(5, 0, i, LARGE_BF16);
            if (n >= g->N) expected[n] = before;
            else if (u->accumulate || u->in_place) expected[n] += before;
            else if (u->residual) expected[n] += get(x->residual, g->d, i);
            if (u->bias && n < g->N) expected[n] += get(x->bias, g->ab, n);
            if (g->d == BF16) expected[n] = bf16_to_f32(bf16_from_f32(expected[n]));
            float got = get(x->d, g->d, i);
            if (!(got == expected[n])) return wrong_element(dev, library, u, g, m, n, got, expected[n]);
        }
    }
    return STATUS_OK;
}

/* in g, lda, ldb and ldd are the gaps between rows */
static status check_use(device *dev, gemm_function *product, const char *library, const use *u, gemm_args g,
                        matrices *x) {
    g.trans_a = u->trans_a, g.trans_b = u->trans_b;
    g.lda += u->trans_a ? g.M : g.K, g.ldb += u->trans_b ? g.K : g.N, g.ldd += g.N;
    g.d = u->d_f32 ? F32 : g.ab;
    g.accumulate = u->accumulate, g.b_is_weight = u->weight;
    g.A = x->a, g.B = x->b, g.D = x->d;
    g.bias = u->bias ? x->bias : NULL;
    g.residual = u->in_place ? x->d : u->residual ? x->residual : NULL;
    fill(x, &g);
    gemm_weights_changed(dev);
    TRY(product(dev, &g));
    return compare(dev, library, u, &g, x);
}

status gemm_check(device *dev, gemm_function *product, const char *library) {
    status_code st = STATUS_OK;
    matrices *x = calloc(1, sizeof *x);
    if (!x) FAIL(MEM, "no memory for the check of GEMMs");
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++)
            for (int t = 0; t < 2; t++) {
                gemm_args g = {.M = shapes[shape][0], .N = shapes[shape][1], .K = shapes[shape][2]};
                g.ab = t ? BF16 : F32;
                /* each use and each shape occurs with dense rows and with gaps */
                g.lda = g.ldb = g.ldd = (i + shape) % 2 ? PAD : 0;
                TRY_DONE(check_use(dev, product, library, &uses[i], g, x));
            }
done:
    free(x);
    return st;
}
