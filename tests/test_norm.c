#include "layers/norm.h"

#include "tests/check.h"

/* Reference in f64. `size` is each result with the magnitudes of its terms added: rounding errors are proportional to it,
 * not to a result in which terms cancel. */
typedef struct {
    norm_shape s;
    bool layer_norm; /* else RMS norm */
    double *x, *dy, *dres, *g, *b;
    double *y, *dx, *dg, *db;
    double *y_size, *dx_size, *dg_size, *db_size;
} reference;

static double *zeros(i64 n) { return calloc((size_t)n, sizeof(double)); }

static void reference_row(reference *r, const double *x, double *mean, double *rstd) {
    i64 C = r->s.C;
    double m = 0, v = 0;
    for (i64 c = 0; c < C && r->layer_norm; c++) m += x[c] / (double)C;
    for (i64 c = 0; c < C; c++) v += (x[c] - m) * (x[c] - m) / (double)C;
    *mean = m;
    *rstd = 1 / sqrt(v + (double)r->s.eps);
}

static void reference_run(reference *r) {
    norm_shape s = r->s;
    i64 C = s.C;
    for (i64 n = 0; n < s.N; n++)
        for (i64 k = 0; k < s.G; k++) {
            const double *x = r->x + n * s.ldx + k * C, *dy = r->dy + n * s.ldy + k * C;
            i64 to_x = n * s.ldx + k * C, to_y = n * s.ldy + k * C;
            double mean, rstd, along_one = 0, along_x = 0, size = 0;
            reference_row(r, x, &mean, &rstd);
            for (i64 c = 0; c < C; c++) {
                double xh = (x[c] - mean) * rstd, dxh = dy[c] * r->g[c];
                double xh_size = (fabs(x[c]) + fabs(mean)) * rstd;
                r->y[to_y + c] = xh * r->g[c] + (r->b ? r->b[c] : 0);
                r->y_size[to_y + c] = xh_size * fabs(r->g[c]) + (r->b ? fabs(r->b[c]) : 0);
                r->dg[c] += dy[c] * xh, r->dg_size[c] += fabs(dy[c]) * xh_size;
                r->db[c] += dy[c], r->db_size[c] += fabs(dy[c]);
                if (r->layer_norm) along_one += dxh / (double)C;
                along_x += dxh * xh / (double)C;
                size += fabs(dxh) * (1 + xh_size) / (double)C;
            }
            for (i64 c = 0; c < C; c++) {
                double xh = (x[c] - mean) * rstd, dxh = dy[c] * r->g[c], res = r->dres ? r->dres[to_x + c] : 0;
                double xh_size = (fabs(x[c]) + fabs(mean)) * rstd;
                r->dx[to_x + c] = rstd * (dxh - along_one - xh * along_x) + res;
                r->dx_size[to_x + c] = rstd * (fabs(dxh) + size * (1 + xh_size)) + fabs(res);
            }
        }
}

static void check_sized(const char *what, const void *got, dtype t, const double *want, const double *size, i64 n,
                        double tolerance) {
    float *wide = malloc((size_t)n * 4);
    widen(wide, got, t, n);
    double d = 0, s = 0;
    for (i64 i = 0; i < n; i++)
        if (size[i] > 0) d += (wide[i] - want[i]) * (wide[i] - want[i]), s += size[i] * size[i];
    if (!(sqrt(d) <= tolerance * sqrt(s)))
        fail_msg("%s: distance %.3g of %.3g, tolerance %.3g", what, sqrt(d), sqrt(s), tolerance);
    free(wide);
}

typedef struct {
    void *y, *dx;
    float *mean, *rstd, *dg, *db;
    size_t bytes_y, bytes_dx;
} results;

enum { ALIAS_NONE, ALIAS_DY, ALIAS_DRES };

static results run_kernels(dtype t, norm_shape s, bool layer_norm, const void *x, const void *dy, const void *dres,
                           const void *g, const void *b, int alias, bool accumulate, int threads) {
    device *dev;
    OK(device_open(&dev, "cpu", threads, 0));
    i64 rows = s.N * s.G;
    results r = {.bytes_y = (size_t)(s.N * s.ldy) * dtype_bytes(t), .bytes_dx = (size_t)(s.N * s.ldx) * dtype_bytes(t)};
    r.y = malloc(r.bytes_y), r.dx = malloc(r.bytes_dx);
    memset(r.y, 0x11, r.bytes_y), memset(r.dx, 0x11, r.bytes_dx);
    if (alias == ALIAS_DY) memcpy(r.dx, dy, r.bytes_dx);
    if (alias == ALIAS_DRES) memcpy(r.dx, dres, r.bytes_dx);
    r.rstd = malloc((size_t)rows * 4), r.dg = malloc((size_t)s.C * 4);
    r.mean = layer_norm ? malloc((size_t)rows * 4) : NULL;
    r.db = layer_norm ? malloc((size_t)s.C * 4) : NULL;
    for (i64 c = 0; c < s.C; c++) {
        r.dg[c] = accumulate ? 1 : NAN;
        if (r.db) r.db[c] = accumulate ? 2 : NAN;
    }
    const norm_layer n = {.g = g, .b = b, .dg = r.dg, .db = r.db, .accumulate = accumulate, .s = s};
    const norm_statistics saved = {.mean = r.mean, .rstd = r.rstd};
    OK(norm_forward(dev, t, r.y, saved, x, &n));
    OK(norm_backward(dev, t, r.dx, alias == ALIAS_DRES ? r.dx : dres, alias == ALIAS_DY ? r.dx : dy, x, saved, &n));
    device_close(dev);
    return r;
}

static void results_free(results r) { free(r.y), free(r.dx), free(r.mean), free(r.rstd), free(r.dg), free(r.db); }

static void check_same(results a, results b, i64 C, bool whole_dx) {
    assert_memory_equal(a.y, b.y, a.bytes_y);
    if (whole_dx) assert_memory_equal(a.dx, b.dx, a.bytes_dx);
    assert_memory_equal(a.dg, b.dg, (size_t)C * 4);
    if (a.db) assert_memory_equal(a.db, b.db, (size_t)C * 4);
}

static void check_gaps(const void *x, dtype t, i64 N, i64 ld, i64 used) {
    for (i64 n = 0; n < N; n++)
        for (size_t i = 0; i < (size_t)(ld - used) * dtype_bytes(t); i++)
            assert_int_equal(((const char *)tensor_at(x, t, n * ld + used))[i], 0x11);
}

static void check_case(dtype t, norm_shape s, bool layer_norm, bool with_dres) {
    i64 size_x = s.N * s.ldx, size_y = s.N * s.ldy, C = s.C;
    size_t e = dtype_bytes(t);
    reference r = {.s = s, .layer_norm = layer_norm};
    r.x = zeros(size_x), r.dy = zeros(size_y), r.g = zeros(C), r.b = layer_norm ? zeros(C) : NULL;
    r.dres = with_dres ? zeros(size_x) : NULL;
    r.y = zeros(size_y), r.dx = zeros(size_x), r.dg = zeros(C), r.db = zeros(C);
    r.y_size = zeros(size_y), r.dx_size = zeros(size_x), r.dg_size = zeros(C), r.db_size = zeros(C);
    void *x = malloc((size_t)size_x * e), *dy = malloc((size_t)size_y * e), *g = malloc((size_t)C * e);
    void *b = layer_norm ? malloc((size_t)C * e) : NULL, *dres = with_dres ? malloc((size_t)size_x * e) : NULL;
    random_tensor(x, r.x, t, size_x, 2, 1);
    random_tensor(dy, r.dy, t, size_y, 1, 2);
    random_tensor(g, r.g, t, C, 1, 3);
    if (b) random_tensor(b, r.b, t, C, 1, 4);
    if (dres) random_tensor(dres, r.dres, t, size_x, 1, 5);
    reference_run(&r);

    results one = run_kernels(t, s, layer_norm, x, dy, dres, g, b, ALIAS_NONE, false, 1);
    /* a sum of up to 1024 elements in at least 4 lanes, and 16 more roundings of the terms and the result; bf16: one
     * more of the result. Sums down the columns: a rounding a row. */
    double along = ((double)(C < 1024 ? C : 1024) / 4 + 16) * F32_ROUNDOFF;
    double output = along + (t == BF16 ? BF16_ROUNDOFF : 0);
    double down = along + (double)(s.N * s.G) * F32_ROUNDOFF;
    check_sized("y", one.y, t, r.y, r.y_size, size_y, output);
    check_sized("dx", one.dx, t, r.dx, r.dx_size, size_x, output);
    check_sized("dg", one.dg, F32, r.dg, r.dg_size, C, down);
    if (one.db) check_sized("db", one.db, F32, r.db, r.db_size, C, down);
    check_gaps(one.y, t, s.N, s.ldy, s.G * C);
    check_gaps(one.dx, t, s.N, s.ldx, s.G * C);

    results three = run_kernels(t, s, layer_norm, x, dy, dres, g, b, ALIAS_NONE, false, 3);
    check_same(one, three, C, true);
    results_free(three);
    if (s.ldx == s.ldy && s.ldx == s.G * C) {
        results alias = run_kernels(t, s, layer_norm, x, dy, dres, g, b, ALIAS_DY, false, 3);
        check_same(one, alias, C, true);
        results_free(alias);
    }
    if (dres && s.ldx == s.G * C) {
        results alias = run_kernels(t, s, layer_norm, x, dy, dres, g, b, ALIAS_DRES, false, 3);
        check_same(one, alias, C, true);
        results_free(alias);
    }
    results sum = run_kernels(t, s, layer_norm, x, dy, dres, g, b, ALIAS_NONE, true, 3);
    for (i64 c = 0; c < C; c++) {
        assert_true(sum.dg[c] == 1 + one.dg[c]);
        if (sum.db) assert_true(sum.db[c] == 2 + one.db[c]);
    }
    results_free(sum);
    results_free(one);
    free(x), free(dy), free(g), free(b), free(dres);
    free(r.x), free(r.dy), free(r.dres), free(r.g), free(r.b), free(r.y), free(r.dx), free(r.dg), free(r.db);
    free(r.y_size), free(r.dx_size), free(r.dg_size), free(r.db_size);
}

static void test_against_reference(void **state) {
    (void)state;
    const norm_shape shapes[] = {
        {.N = 3, .G = 1, .C = 1, .ldx = 1, .ldy = 1},          {.N = 7, .G = 1, .C = 33, .ldx = 33, .ldy = 33},
        {.N = 1, .G = 1, .C = 64, .ldx = 70, .ldy = 65},       {.N = 5, .G = 1, .C = 768, .ldx = 768, .ldy = 768},
        {.N = 3, .G = 1, .C = 2500, .ldx = 2500, .ldy = 2500}, {.N = 4, .G = 3, .C = 17, .ldx = 60, .ldy = 51},
        {.N = 600, .G = 2, .C = 32, .ldx = 64, .ldy = 64},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int k = 0; k < 8; k++) {
            norm_shape s = shapes[i];
            s.eps = 1e-5f;
            check_case(k & 1 ? BF16 : F32, s, k & 2, k & 4);
        }
}

/* the reference's backward against central differences of its forward, in f64: h^2 and 1e-16/h are both near 1e-11 */
static void test_reference_by_differences(void **state) {
    (void)state;
    enum { N = 2, C = 5 };
    for (int layer_norm = 0; layer_norm < 2; layer_norm++) {
        double x[N * C], dy[N * C], g[C], b[C], y[N * C], out[4][N * C], size[4][N * C] = {{0}};
        float f[N * C];
        random_tensor(f, x, F32, N * C, 1, 1), random_tensor(f, dy, F32, N * C, 1, 2);
        random_tensor(f, g, F32, C, 1, 3), random_tensor(f, b, F32, C, 1, 4);
        reference r = {.s = {N, 1, C, C, C, 1e-5f},
                       .layer_norm = layer_norm,
                       .x = x,
                       .dy = dy,
                       .g = g,
                       .b = layer_norm ? b : NULL,
                       .y = y,
                       .y_size = size[0],
                       .dx_size = size[1],
                       .dg_size = size[2],
                       .db_size = size[3]};
        r.dx = out[0], r.dg = out[1], r.db = out[2];
        memset(out, 0, sizeof out);
        reference_run(&r);
        double dx[N * C], dg[C];
        memcpy(dx, r.dx, sizeof dx), memcpy(dg, r.dg, sizeof dg);
        const double h = 1e-5;
        for (int i = 0; i < N * C + C; i++) {
            double *p = i < N * C ? &x[i] : &g[i - N * C], keep = *p, loss[2];
            for (int side = 0; side < 2; side++) {
                *p = keep + (side ? h : -h);
                reference_run(&r);
                loss[side] = 0;
                for (int j = 0; j < N * C; j++) loss[side] += y[j] * dy[j];
            }
            *p = keep;
            double slope = (loss[1] - loss[0]) / (2 * h), want = i < N * C ? dx[i] : dg[i - N * C];
            if (fabs(slope - want) > 1e-7 * (1 + fabs(want))) fail_msg("%d: %.9g, expected %.9g", i, want, slope);
        }
    }
}

static void test_not_a_number_spreads_over_its_row(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    float x[20], g[10], y[20], mean[2], rstd[2];
    for (int i = 0; i < 20; i++) x[i] = (float)i, g[i % 10] = 1;
    x[3] = NAN;
    const norm_layer n = {.g = g, .s = {.N = 2, .G = 1, .C = 10, .ldx = 10, .ldy = 10, .eps = 1e-5f}};
    OK(norm_forward(dev, F32, y, (norm_statistics){.mean = mean, .rstd = rstd}, x, &n));
    for (int i = 0; i < 10; i++) assert_true(isnan(y[i]) && isfinite(y[10 + i]));
    device_close(dev);
}

static void test_bad_arguments(void **state) {
    (void)state;
    device *dev;
    OK(device_open(&dev, "cpu", 1, 0));
    float x[8] = {0}, r[8];
    const norm_layer n = {
        .g = x, .b = x, .dg = r, .db = r, .s = {.N = 2, .G = 1, .C = 4, .ldx = 4, .ldy = 4, .eps = 1e-5f}};
    const norm_statistics saved = {.mean = r, .rstd = r}, no_mean = {.rstd = r};
    norm_layer bad = n;
    bad.s.C = 0;
    FAILS(ARG, "expected at least 1", norm_forward(dev, F32, x, saved, x, &bad));
    bad = n, bad.s.ldx = 3;
    FAILS(ARG, "G*C = 4", norm_forward(dev, F32, x, saved, x, &bad));
    bad = n, bad.s.ldy = 3;
    FAILS(ARG, "G*C = 4", norm_backward(dev, F32, x, x, x, x, saved, &bad));
    FAILS(ARG, "RMS norm", norm_forward(dev, F32, x, no_mean, x, &n));
    FAILS(ARG, "RMS norm", norm_backward(dev, F32, x, x, x, x, no_mean, &n));
    bad = n, bad.s.ldx = 5;
    FAILS(ARG, "dx is dy", norm_backward(dev, F32, x, NULL, x, x, saved, &bad));
    device_close(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_reference_by_differences),
        cmocka_unit_test(test_not_a_number_spreads_over_its_row),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
