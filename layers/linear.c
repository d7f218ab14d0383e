#include "layers/linear.h"

#include "layers/activation.h"
#include "runtime/gemm.h"
#include "runtime/simd.h"

enum {
    COLUMNS =
        64, /* of dy, summed by one thread at a time: whole cache lines, and enough pieces for 12 threads at C = 768 */
    ROWS = 64, /* summed on their own, then added to the total: the error grows with ROWS + N/ROWS, not with N */
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

status linear_bias_backward_cpu(device *dev, dtype t, const void *dy, const linear *l, i64 N) {
    (void)dev;
#pragma omp parallel for schedule(static)
    for (i64 from = 0; from < l->O; from += COLUMNS) {
        i64 columns = l->O - from < COLUMNS ? l->O - from : COLUMNS;
        sum_rows(l->db + from, (const char *)dy + from * (i64)dtype_bytes(t), t, N, l->O, columns, l->accumulate);
    }
    return STATUS_OK;
}

static status check_shape(const linear *l, i64 N) {
    if (N <= 0 || l->I <= 0 || l->O <= 0) FAIL(ARG, "linear: N %ld, I %ld, O %ld, expected at least 1", N, l->I, l->O);
    return STATUS_OK;
}

status linear_forward(device *dev, dtype t, void *y, const void *x, const linear *l, const void *residual, i64 N) {
    TRY(check_shape(l, N));
    TRY(gemm(dev, &(gemm_args){.M = N,
                               .N = l->O,
                               .K = l->I,
                               .A = x,
                               .lda = l->I,
                               .B = l->w,
                               .ldb = l->I,
                               .trans_b = true,
                               .D = y,
                               .ldd = l->O,
                               .ab = t,
                               .d = t,
                               .bias = l->b,
                               .residual = residual,
                               .b_is_weight = true,
                               .work = device_forward_work(dev)}));
    return STATUS_OK;
}

static gemm_args input_gradient(dtype t, void *dx, const void *dy, const linear *l, i64 N) {
    return (gemm_args){.M = N,
                       .N = l->I,
                       .K = l->O,
                       .A = dy,
                       .lda = l->O,
                       .B = l->w,
                       .ldb = l->I,
                       .D = dx,
                       .ldd = l->I,
                       .ab = t,
                       .d = t,
                       .b_is_weight = true,
                       .work = WORK_DGRAD};
}

status linear_bias_backward(device *dev, dtype t, const void *dy, const linear *l, i64 N) {
    return DISPATCH(dev, linear_bias_backward, t, dy, l, N);
}

static status weight_gradients(device *dev, dtype t, const void *dy, const void *x, const linear *l, i64 N) {
    TRY(gemm(dev, &(gemm_args){.M = l->O,
                               .N = l->I,
                               .K = N,
                               .A = dy,
                               .lda = l->O,
                               .trans_a = true,
                               .B = x,
                               .ldb = l->I,
                               .D = l->dw,
                               .ldd = l->I,
                               .ab = t,
                               .d = F32,
                               .accumulate = l->accumulate,
                               .work = WORK_WGRAD}));
    if (l->db) TRY(linear_bias_backward(dev, t, dy, l, N));
    return STATUS_OK;
}

status linear_backward(device *dev, dtype t, void *dx, const void *dy, const void *x, const linear *l, i64 N) {
    TRY(check_shape(l, N));
    if (dx) {
        gemm_args dgrad = input_gradient(t, dx, dy, l, N);
        TRY(gemm(dev, &dgrad));
    }
    return weight_gradients(dev, t, dy, x, l, N);
}

status linear_backward_gelu(device *dev, dtype t, void *dx, const void *dy, const void *x, const void *up,
                            const linear *l, i64 N) {
    TRY(check_shape(l, N));
    gemm_args fused = input_gradient(t, dx, dy, l, N);
    fused.dgelu_of = up;
    if (!gemm_fuses_dgelu(dev, &fused)) {
        TRY(linear_backward(dev, t, dx, dy, x, l, N));
        return activation_gelu_backward(dev, t, dx, dx, up, N, l->I);
    }
    TRY(gemm(dev, &fused));
    return weight_gradients(dev, t, dy, x, l, N);
}
