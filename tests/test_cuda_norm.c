#include "layers/norm.h"
#include "tests/cuda_pair.h"

/* Rows are summed in f32 by both, in orders of their own: at most (elements a thread adds one by one) + log2(threads)
 * roundings a term on CUDA, SIMD_CHUNK / 4 lanes and f64 between chunks on the CPU, and ten more of the terms and of what
 * is done with the sum. Roundings are not all one way: the square root of their number is what adds up (here 300). */
static double sum_tolerance(dtype t) { return 32 * F32_ROUNDOFF + (t == BF16 ? 2 * BF16_ROUNDOFF : 0); }

typedef struct {
    norm_shape s;
    bool layer_norm;
    int offset; /* elements that every tensor begins behind an aligned address */
} norm_case;

typedef struct {
    size_t x_bytes, y_bytes, c_bytes, stat_bytes, offset;
    char *x, *dy, *dres, *g, *b, *y, *dx; /* of the host, offset elements before the tensor */
    float *mean, *rstd, *dg, *db;
    char *cx, *cdy, *cdres, *cg, *cb, *cy, *cdx;
    float *cmean, *crstd, *cdg, *cdb;
} norm_tensors;

static char *filled(dtype t, size_t bytes, size_t offset, uint64_t seed) {
    char *p = malloc(bytes + offset);
    memset(p, 0xff, bytes + offset);
    random_tensor(p + offset, NULL, t, (i64)(bytes / dtype_bytes(t)), 1, seed);
    return p;
}

static char *unwritten(size_t bytes) {
    char *p = malloc(bytes);
    memset(p, 0xff, bytes);
    return p;
}

static void prepare(norm_tensors *n, dtype t, const norm_case *c) {
    norm_shape s = c->s;
    size_t e = dtype_bytes(t), rows = (size_t)(s.N * s.G);
    *n = (norm_tensors){.x_bytes = (size_t)(s.N * s.ldx) * e,
                        .y_bytes = (size_t)(s.N * s.ldy) * e,
                        .c_bytes = (size_t)s.C * e,
                        .stat_bytes = rows * 4,
                        .offset = (size_t)c->offset * e};
    n->x = filled(t, n->x_bytes, n->offset, 1), n->cx = to_cuda(n->x, n->x_bytes + n->offset);
    n->dy = filled(t, n->y_bytes, n->offset, 2), n->cdy = to_cuda(n->dy, n->y_bytes + n->offset);
    n->dres = filled(t, n->x_bytes, n->offset, 3), n->cdres = to_cuda(n->dres, n->x_bytes + n->offset);
    n->g = filled(t, n->c_bytes, n->offset, 4), n->cg = to_cuda(n->g, n->c_bytes + n->offset);
    n->b = filled(t, n->c_bytes, n->offset, 5), n->cb = to_cuda(n->b, n->c_bytes + n->offset);
    n->y = unwritten(n->y_bytes + n->offset), n->cy = cuda_unwritten(n->y_bytes + n->offset);
    n->dx = unwritten(n->x_bytes + n->offset), n->cdx = cuda_unwritten(n->x_bytes + n->offset);
    n->mean = (float *)unwritten(n->stat_bytes), n->cmean = cuda_unwritten(n->stat_bytes);
    n->rstd = (float *)unwritten(n->stat_bytes), n->crstd = cuda_unwritten(n->stat_bytes);
    n->dg = (float *)filled(F32, (size_t)s.C * 4, 0, 6), n->cdg = to_cuda(n->dg, (size_t)s.C * 4);
    n->db = (float *)filled(F32, (size_t)s.C * 4, 0, 7), n->cdb = to_cuda(n->db, (size_t)s.C * 4);
}

static void release(norm_tensors *n, i64 C) {
    free(n->x), free(n->dy), free(n->dres), free(n->g), free(n->b), free(n->y), free(n->dx), free(n->mean);
    free(n->rstd), free(n->dg), free(n->db);
    cuda_release(n->cx, n->x_bytes + n->offset), cuda_release(n->cdy, n->y_bytes + n->offset);
    cuda_release(n->cdres, n->x_bytes + n->offset), cuda_release(n->cg, n->c_bytes + n->offset);
    cuda_release(n->cb, n->c_bytes + n->offset), cuda_release(n->cy, n->y_bytes + n->offset);
    cuda_release(n->cdx, n->x_bytes + n->offset), cuda_release(n->cmean, n->stat_bytes);
    cuda_release(n->crstd, n->stat_bytes), cuda_release(n->cdg, (size_t)C * 4), cuda_release(n->cdb, (size_t)C * 4);
}

/* rows of `used` elements in strides of ld: compared, and what lies between them must still be as it was (NaN bits) */
static void check_rows(const char *what, dtype t, const void *cuda, const void *cpu, i64 rows, i64 used, i64 ld,
                       double tolerance) {
    size_t e = dtype_bytes(t), bytes = (size_t)(rows * ld) * e;
    char *copy = malloc(bytes), *a = malloc((size_t)(rows * used) * e), *b = malloc((size_t)(rows * used) * e);
    from_cuda(copy, cuda, bytes);
    for (i64 r = 0; r < rows; r++) {
        memcpy(a + (size_t)(r * used) * e, copy + (size_t)(r * ld) * e, (size_t)used * e);
        memcpy(b + (size_t)(r * used) * e, (const char *)cpu + (size_t)(r * ld) * e, (size_t)used * e);
        assert_memory_equal(copy + (size_t)(r * ld + used) * e, (const char *)cpu + (size_t)(r * ld + used) * e,
                            (size_t)(ld - used) * e);
    }
    void *packed = to_cuda(a, (size_t)(rows * used) * e);
    check_same(what, t, packed, b, rows * used, tolerance);
    cuda_release(packed, (size_t)(rows * used) * e);
    free(copy), free(a), free(b);
}

static void check_forward(dtype t, const norm_case *c, norm_tensors *n) {
    norm_shape s = c->s;
    size_t o = n->offset;
    bool ln = c->layer_norm;
    OK(norm_forward(both.cpu, t, n->y + o, ln ? n->mean : NULL, n->rstd, n->x + o, n->g + o, ln ? n->b + o : NULL, s));
    OK(norm_forward(both.cuda, t, n->cy + o, ln ? n->cmean : NULL, n->crstd, n->cx + o, n->cg + o,
                    ln ? n->cb + o : NULL, s));
    check_rows("y", t, n->cy + o, n->y + o, s.N, s.G * s.C, s.ldy, sum_tolerance(t));
    if (ln) check_same("mean", F32, n->cmean, n->mean, s.N * s.G, 64 * F32_ROUNDOFF); /* means of both signs cancel */
    check_same("rstd", F32, n->crstd, n->rstd, s.N * s.G, sum_tolerance(F32));
}

typedef enum { APART, IN_DY, IN_DRES, NO_DRES } aliasing;

static void check_backward(dtype t, const norm_case *c, norm_tensors *n, aliasing how, bool accumulate) {
    norm_shape s = c->s;
    size_t o = n->offset;
    bool ln = c->layer_norm;
    char *dx = how == IN_DY ? n->dy : how == IN_DRES ? n->dres : n->dx;
    char *cdx = how == IN_DY ? n->cdy : how == IN_DRES ? n->cdres : n->cdx;
    bool dres = how == APART || how == IN_DRES;
    OK(norm_backward(both.cpu, t, dx + o, n->dg, ln ? n->db : NULL, dres ? n->dres + o : NULL, n->dy + o, n->x + o,
                     n->g + o, ln ? n->mean : NULL, n->rstd, s, accumulate));
    OK(norm_backward(both.cuda, t, cdx + o, n->cdg, ln ? n->cdb : NULL, dres ? n->cdres + o : NULL, n->cdy + o,
                     n->cx + o, n->cg + o, ln ? n->cmean : NULL, n->crstd, s, accumulate));
    /* what is taken away from dy g can be as large as itself, so both of its roundings count twice */
    check_rows("dx", t, cdx + o, dx + o, s.N, s.G * s.C, s.ldx, 2 * sum_tolerance(t));
    /* sums down the rows: the CPU's run through all of them one by one */
    double down = (32 + sqrt((double)(s.N * s.G))) * F32_ROUNDOFF;
    check_same("dg", F32, n->cdg, n->dg, s.C, down);
    if (ln) check_same("db", F32, n->cdb, n->db, s.C, down);
}

static void check_repeats(dtype t, const norm_case *c) {
    norm_tensors n[2];
    norm_shape s = c->s;
    bool ln = c->layer_norm;
    void *dx[2], *dg[2], *db[2];
    for (int k = 0; k < 2; k++) {
        prepare(&n[k], t, c);
        size_t o = n[k].offset;
        OK(norm_forward(both.cuda, t, n[k].cy + o, ln ? n[k].cmean : NULL, n[k].crstd, n[k].cx + o, n[k].cg + o,
                        ln ? n[k].cb + o : NULL, s));
        OK(norm_backward(both.cuda, t, n[k].cdx + o, n[k].cdg, ln ? n[k].cdb : NULL, NULL, n[k].cdy + o, n[k].cx + o,
                         n[k].cg + o, ln ? n[k].cmean : NULL, n[k].crstd, s, true));
        dx[k] = malloc(n[k].x_bytes), dg[k] = malloc((size_t)s.C * 4), db[k] = malloc((size_t)s.C * 4);
        from_cuda(dx[k], n[k].cdx + o, n[k].x_bytes);
        from_cuda(dg[k], n[k].cdg, (size_t)s.C * 4);
        from_cuda(db[k], n[k].cdb, (size_t)s.C * 4);
        release(&n[k], s.C);
    }
    assert_memory_equal(dx[0], dx[1], n[0].x_bytes);
    assert_memory_equal(dg[0], dg[1], (size_t)s.C * 4);
    assert_memory_equal(db[0], db[1], (size_t)s.C * 4);
    for (int k = 0; k < 2; k++) free(dx[k]), free(dg[k]), free(db[k]);
}

static void check_case(dtype t, norm_case c) {
    for (int how = APART; how <= NO_DRES; how++) {
        if (how == IN_DY && c.s.ldx != c.s.ldy) continue;
        norm_tensors n;
        prepare(&n, t, &c);
        check_forward(t, &c, &n);
        check_backward(t, &c, &n, (aliasing)how, how % 2);
        release(&n, c.s.C);
    }
    check_repeats(t, &c);
}

static norm_case plain(i64 N, i64 C, bool layer_norm) {
    return (norm_case){.s = {.N = N, .G = 1, .C = C, .ldx = C, .ldy = C, .eps = 1e-5f}, .layer_norm = layer_norm};
}

/* so that few rows make every block loop; of an emulated GPU */
enum { FEW = 3 };

static int open_with_few_multiprocessors(void **state) {
    setenv("SIMT_SMS", "3", 0);
    return pair_open(state);
}

static void rows_of_a_warp_and_of_several(void **state) {
    (void)state;
    NEEDS_CUDA();
    for (dtype t = F32; t <= BF16; t++)
        for (int ln = 0; ln < 2; ln++) {
            check_case(t, plain(37, 768, ln)); /* bf16: a warp each; f32: two */
            check_case(t, plain(5, 2000, ln)); /* three warps, the last half empty: two rows a block, one thread over */
            check_case(t, plain(3, 3072, ln));
        }
}

static void blocks_take_several_rows(void **state) {
    (void)state;
    NEEDS_CUDA();
    for (dtype t = F32; t <= BF16; t++)
        for (int ln = 0; ln < 2; ln++) check_case(t, plain(2 * FEW * 8 + 3, 24, ln)); /* 8 rows a block and turn */
    check_case(F32, plain(2 * 132 * 8 + 3, 4, false));
}

static void rows_too_long_to_keep(void **state) {
    (void)state;
    NEEDS_CUDA();
    for (int ln = 0; ln < 2; ln++) {
        check_case(F32, plain(30, 3, ln));
        check_case(F32, plain(3, 8200, ln));
        check_case(BF16, plain(3, 16400, ln));
        check_case(BF16, plain(2, 4097, ln));
    }
    check_case(F32, plain(2 * FEW + 2, 4100, true)); /* more rows than blocks */
}

static void heads_in_wide_rows(void **state) {
    (void)state;
    NEEDS_CUDA();
    for (dtype t = F32; t <= BF16; t++)
        for (int ln = 0; ln < 2; ln++)
            for (i64 D = 6; D <= 128; D = D == 6 ? 32 : 2 * D) {
                i64 G = D == 32 ? 40 : 5, N = D == 32 ? 30 : 21, ld = (G + 3) * D;
                norm_case c = {.s = {.N = N, .G = G, .C = D, .ldx = ld, .ldy = ld, .eps = 1e-6f}, .layer_norm = ln};
                check_case(t, c);
                c.s.ldy = G * D;
                check_case(t, c);
            }
}

static void addresses_that_are_not_aligned(void **state) {
    (void)state;
    NEEDS_CUDA();
    for (dtype t = F32; t <= BF16; t++)
        for (int ln = 0; ln < 2; ln++) {
            norm_case c = plain(19, 768, ln);
            c.offset = 1;
            check_case(t, c);
            c.offset = 0, c.s.ldx = 769;
            check_case(t, c);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_a_warp_and_of_several),  cmocka_unit_test(blocks_take_several_rows),
        cmocka_unit_test(rows_too_long_to_keep),          cmocka_unit_test(heads_in_wide_rows),
        cmocka_unit_test(addresses_that_are_not_aligned),
    };
    return cmocka_run_group_tests(tests, open_with_few_multiprocessors, pair_close);
}
