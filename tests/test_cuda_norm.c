#include "layers/norm.h"
#include "tests/tensor_pair.h"

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
    tensor_pair x, dy, dres, g, b, y, dx, mean, rstd, dg, db;
} norm_tensors;

static norm_tensors prepare(dtype t, const norm_case *c) {
    norm_shape s = c->s;
    i64 in_x = s.N * s.ldx, in_y = s.N * s.ldy, rows = s.N * s.G, o = c->offset;
    return (norm_tensors){.x = tensor_pair_open(t, in_x, o, 1, 1),
                          .dy = tensor_pair_open(t, in_y, o, 1, 2),
                          .dres = tensor_pair_open(t, in_x, o, 1, 3),
                          .g = tensor_pair_open(t, s.C, o, 1, 4),
                          .b = tensor_pair_open(t, s.C, o, 1, 5),
                          .y = tensor_pair_open(t, in_y, o, 0, 0),
                          .dx = tensor_pair_open(t, in_x, o, 0, 0),
                          .mean = tensor_pair_open(F32, rows, 0, 0, 0),
                          .rstd = tensor_pair_open(F32, rows, 0, 0, 0),
                          .dg = tensor_pair_open(F32, s.C, 0, 1, 6),
                          .db = tensor_pair_open(F32, s.C, 0, 1, 7)};
}

static void release(norm_tensors *n) {
    tensor_pair *all[] = {&n->x, &n->dy, &n->dres, &n->g, &n->b, &n->y, &n->dx, &n->mean, &n->rstd, &n->dg, &n->db};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tensor_pair_close(all[i]);
}

/* the norm that the tensors of one device make up, and its statistics */
static norm_layer norm_of(const norm_case *c, norm_tensors *n, bool cuda, bool accumulate) {
    norm_layer r = {.g = cuda ? n->g.cuda : n->g.host, .accumulate = accumulate, .s = c->s};
    r.dg = cuda ? n->dg.cuda : n->dg.host;
    if (c->layer_norm) r.b = cuda ? n->b.cuda : n->b.host, r.db = cuda ? n->db.cuda : n->db.host;
    return r;
}

static norm_statistics statistics_of(const norm_case *c, norm_tensors *n, bool cuda) {
    norm_statistics r = {.rstd = cuda ? n->rstd.cuda : n->rstd.host};
    if (c->layer_norm) r.mean = cuda ? n->mean.cuda : n->mean.host;
    return r;
}

static void check_forward(dtype t, const norm_case *c, norm_tensors *n) {
    norm_shape s = c->s;
    bool ln = c->layer_norm;
    const norm_layer cpu = norm_of(c, n, false, false), cuda = norm_of(c, n, true, false);
    OK(norm_forward(both.cpu, t, n->y.host, statistics_of(c, n, false), n->x.host, &cpu));
    OK(norm_forward(both.cuda, t, n->y.cuda, statistics_of(c, n, true), n->x.cuda, &cuda));
    check_tensor_pair_rows("y", &n->y, s.N, s.G * s.C, s.ldy, sum_tolerance(t));
    /* a mean of values of both signs is sqrt(C) times smaller than they are, at most 128 here */
    if (ln) check_tensor_pair("mean", &n->mean, 128 * F32_ROUNDOFF);
    check_tensor_pair("rstd", &n->rstd, sum_tolerance(F32));
}

typedef enum { APART, IN_DY, IN_DRES, NO_DRES } aliasing;

static void check_backward(dtype t, const norm_case *c, norm_tensors *n, aliasing how, bool accumulate) {
    norm_shape s = c->s;
    bool ln = c->layer_norm, dres = how == APART || how == IN_DRES;
    tensor_pair *dx = how == IN_DY ? &n->dy : how == IN_DRES ? &n->dres : &n->dx;
    const norm_layer cpu = norm_of(c, n, false, accumulate), cuda = norm_of(c, n, true, accumulate);
    OK(norm_backward(both.cpu, t, dx->host, dres ? n->dres.host : NULL, n->dy.host, n->x.host,
                     statistics_of(c, n, false), &cpu));
    OK(norm_backward(both.cuda, t, dx->cuda, dres ? n->dres.cuda : NULL, n->dy.cuda, n->x.cuda,
                     statistics_of(c, n, true), &cuda));
    /* what is taken away from dy g can be as large as itself, so both of its roundings count twice */
    check_tensor_pair_rows("dx", dx, s.N, s.G * s.C, s.ldx, 2 * sum_tolerance(t));
    /* sums down the rows: the CPU's run through all of them one by one */
    double down = (32 + sqrt((double)(s.N * s.G))) * F32_ROUNDOFF;
    check_tensor_pair("dg", &n->dg, down);
    if (ln) check_tensor_pair("db", &n->db, down);
}

static void check_repeats(dtype t, const norm_case *c) {
    norm_shape s = c->s;
    void *out[2][3];
    norm_tensors n[2];
    for (int k = 0; k < 2; k++) {
        n[k] = prepare(t, c);
        const norm_layer cuda = norm_of(c, &n[k], true, true);
        const norm_statistics saved = statistics_of(c, &n[k], true);
        OK(norm_forward(both.cuda, t, n[k].y.cuda, saved, n[k].x.cuda, &cuda));
        OK(norm_backward(both.cuda, t, n[k].dx.cuda, NULL, n[k].dy.cuda, n[k].x.cuda, saved, &cuda));
        out[k][0] = tensor_pair_download(&n[k].dx), out[k][1] = tensor_pair_download(&n[k].dg),
        out[k][2] = tensor_pair_download(&n[k].db);
    }
    const size_t bytes[3] = {(size_t)n[0].dx.n * dtype_bytes(t), (size_t)s.C * 4, (size_t)s.C * 4};
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(out[0][i], out[1][i], bytes[i]);
        free(out[0][i]), free(out[1][i]);
    }
    release(&n[0]), release(&n[1]);
}

static void check_case(dtype t, norm_case c) {
    for (int how = APART; how <= NO_DRES; how++) {
        if (how == IN_DY && c.s.ldx != c.s.ldy) continue;
        norm_tensors n = prepare(t, &c);
        check_forward(t, &c, &n);
        check_backward(t, &c, &n, (aliasing)how, how % 2);
        release(&n);
    }
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
    for (dtype t = F32; t <= BF16; t++)
        for (int ln = 0; ln < 2; ln++) {
            check_case(t, plain(37, 768, ln)); /* bf16: a warp each; f32: two */
            check_repeats(t, &(norm_case){.s = plain(37, 768, ln).s, .layer_norm = ln});
            check_case(t, plain(5, 2000, ln)); /* three warps, the last half empty: two rows a block, one thread over */
            check_case(t, plain(3, 3072, ln));
        }
}

static void blocks_take_several_rows(void **state) {
    (void)state;
    for (dtype t = F32; t <= BF16; t++)
        for (int ln = 0; ln < 2; ln++) {
            norm_case c = plain(2 * FEW * 8 + 3, 24, ln); /* 8 rows a block and turn */
            check_case(t, c);
            check_repeats(t, &c);
        }
    norm_case of_a_real_one = plain(2 * 132 * 8 + 3, 4, false);
    check_repeats(F32, &of_a_real_one);
}

static void rows_too_long_to_keep(void **state) {
    (void)state;
    for (int ln = 0; ln < 2; ln++) {
        check_case(F32, plain(30, 3, ln));
        check_case(F32, plain(3, 8200, ln));
        check_case(BF16, plain(3, 16400, ln));
        check_case(BF16, plain(2, 4097, ln));
    }
    norm_case c = plain(2 * FEW + 2, 4100, true);
    check_repeats(F32, &c);
    check_case(F32, c); /* more rows than blocks */
}

static void heads_in_wide_rows(void **state) {
    (void)state;
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
    NEEDS_CUDA("test_cuda_norm");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_a_warp_and_of_several),  cmocka_unit_test(blocks_take_several_rows),
        cmocka_unit_test(rows_too_long_to_keep),          cmocka_unit_test(heads_in_wide_rows),
        cmocka_unit_test(addresses_that_are_not_aligned),
    };
    return cmocka_run_group_tests(tests, open_with_few_multiprocessors, pair_close);
}
