#include "layers/linear.h"

#include "layers/activation.h"
#include "runtime/gemm.h"
#include "runtime/simd.h"

enum {
    COLUMNS = 64, /* of dy that a thread sums at a time: whole cache lines, and work for 12 threads at C = 768 */
    ROWS = 64, /* summed before they are added to the total, so that the error grows with ROWS + N/ROWS, not with N */
};

/* db [columns] = or += sum over N rows of dy, row stride ld */
SIMD_CLONES static void sum_rows(float *db, const void *dy, dtype t, i64 N, i64 ld, i64 columns, bool accumulate) {
    float total[COLUMNS] = {0}, part[COLUMNS], row[COLUMNS];
    for (i64 from = 0; from < N; from += ROWS) {
        i64 to = from + ROWS < N ? from + ROWS : N;
        memset(part, 0, sizeof part);
        for (i64 n = from; n < to; n++) {
            simd_load_f32(row, (const char *)dy + n * ld * (i64)dtype_bytes(t), t, columns);
            for (i64 i = 0; i < columns; i++) part[i] += row[i];
        }
        for (i64 i = 0; i < columns; i++) total[i] += part[i];
    }
    for (i64 i = 0; i < columns; i++) db[i] = accumulate ? db[i] + total[i] : total[i];
}

static status bias_backward_cpu(device *dev, float *db, const void *dy, dtype t, i64 N, i64 O, bool accumulate) {
    (void)dev;
#pragma omp parallel for schedule(static)
    for (i64 from = 0; from < O; from += COLUMNS) {
        i64 columns = O - from < COLUMNS ? O - from : COLUMNS;
        sum_rows(db + from, (const char *)dy + from * (i64)dtype_bytes(t), t, N, O, columns, accumulate);
    }
    return STATUS_OK;
}

static status check_shape(i64 N, i64 I, i64 O) {
    if (N <= 0 || I <= 0 || O <= 0)
        FAIL(ARG, "linear: N %lld, I %lld, O %lld, expected at least 1", (long long)N, (long long)I, (long long)O);
    return STATUS_OK;
}

status linear_forward(device *dev, dtype t, void *y, const void *x, const void *w, const void *b, const void *residual,
                      i64 N, i64 I, i64 O) {
    TRY(check_shape(N, I, O));
    gemm_args product = {.M = N, .N = O, .K = I, .A = x, .B = w, .D = y, .lda = I, .ldb = I, .ldd = O};
    product.trans_b = true;
    product.ab = product.d = t;
    product.bias = b;
    product.residual = residual;
    product.b_is_weight = true;
    product.work = device_forward_work(dev);
    TRY(gemm(dev, &product));
    return STATUS_OK;
}

static gemm_args input_gradient(dtype t, void *dx, const void *dy, const void *w, i64 N, i64 I, i64 O) {
    gemm_args dgrad = {.M = N, .N = I, .K = O, .A = dy, .B = w, .D = dx, .lda = O, .ldb = I, .ldd = I};
    dgrad.ab = dgrad.d = t;
    dgrad.b_is_weight = true;
    dgrad.work = WORK_DGRAD;
    return dgrad;
}

static status weight_gradients(device *dev, dtype t, float *dw, float *db, const void *dy, const void *x, i64 N, i64 I,
                               i64 O, bool accumulate) {
    gemm_args wgrad = {.M = O, .N = I, .K = N, .A = dy, .B = x, .D = dw, .lda = O, .ldb = I, .ldd = I};
    wgrad.trans_a = true;
    wgrad.ab = t;
    wgrad.d = F32;
    wgrad.accumulate = accumulate;
    wgrad.work = WORK_WGRAD;
    TRY(gemm(dev, &wgrad));
    if (db) TRY(DISPATCH(dev, bias_backward, db, dy, t, N, O, accumulate));
    return STATUS_OK;
}

status linear_backward(device *dev, dtype t, void *dx, float *dw, float *db, const void *dy, const void *x,
                       const void *w, i64 N, i64 I, i64 O, bool accumulate) {
    TRY(check_shape(N, I, O));
    if (dx) {
        gemm_args dgrad = input_gradient(t, dx, dy, w, N, I, O);
        TRY(gemm(dev, &dgrad));
    }
    return weight_gradients(dev, t, dw, db, dy, x, N, I, O, accumulate);
}

status linear_backward_gelu(device *dev, dtype t, void *dx, float *dw, float *db, const void *dy, const void *x,
                            const void *w, const void *up, i64 N, i64 I, i64 O, bool accumulate) {
    TRY(check_shape(N, I, O));
    gemm_args fused = input_gradient(t, dx, dy, w, N, I, O);
    fused.dgelu_of = up;
    if (!gemm_fuses_dgelu(dev, &fused)) {
        TRY(linear_backward(dev, t, dx, dw, db, dy, x, w, N, I, O, accumulate));
        return activation_gelu_backward(dev, t, dx, dx, up, N, I);
    }
    TRY(gemm(dev, &fused));
    return weight_gradients(dev, t, dw, db, dy, x, N, I, O, accumulate);
}
