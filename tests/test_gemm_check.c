/* The check of the GEMM library at device_open, against GEMMs that are wrong in one way each. */
#include <string.h>

#include "check.h"
#include "runtime/gemm_check.h"

static device *dev;

static int open_device(void **state) {
    (void)state;
    OK(device_open(&dev, "cpu", 1, 0));
    return 0;
}

static int close_device(void **state) {
    (void)state;
    device_close(dev);
    return 0;
}

static status_code right(device *d, const gemm_args *g) { return gemm(d, g); }

/* as oneDNN 3.7 does it with AVX-512: A's elements as if they were neighbours */
static status_code dense_a(device *d, const gemm_args *g) {
    gemm_args wrong = *g;
    if (g->M == 1 && g->trans_a) wrong.lda = 1;
    return gemm(d, &wrong);
}

/* and D's */
static status_code dense_d(device *d, const gemm_args *g) {
    gemm_args wrong = *g;
    if (g->N == 1) wrong.ldd = 1;
    return gemm(d, &wrong);
}

static status_code forgets_d(device *d, const gemm_args *g) {
    gemm_args wrong = *g;
    wrong.accumulate = false;
    return gemm(d, &wrong);
}

static status_code forgets_bias(device *d, const gemm_args *g) {
    gemm_args wrong = *g;
    wrong.bias = NULL;
    return gemm(d, &wrong);
}

/* f32 operands rounded to bf16, as a fast-math mode would */
static status_code rounds_operands(device *d, const gemm_args *g) {
    static float rounded[128 * 128];
    i64 n = (g->trans_a ? g->K : g->M) * g->lda;
    gemm_args wrong = *g;
    if (g->ab == F32) {
        for (i64 i = 0; i < n; i++) rounded[i] = bf16_to_f32(bf16_from_f32(((const float *)g->A)[i]));
        wrong.A = rounded;
    }
    return gemm(d, &wrong);
}

/* one element of the largest weight gradient */
static status_code last_element(device *d, const gemm_args *g) {
    TRY(gemm(d, g));
    if (g->accumulate && g->ab == BF16 && g->M > 8 && g->N > 8) ((float *)g->D)[(g->M - 1) * g->ldd + g->N - 1] += 1;
    return STATUS_OK;
}

static status_code nothing(device *d, const gemm_args *g) {
    (void)d, (void)g;
    return STATUS_OK;
}

static status_code fails(device *d, const gemm_args *g) {
    (void)d, (void)g;
    FAIL(DEVICE, "no kernel");
}

static void right_products_pass(void **state) {
    (void)state;
    OK(gemm_check(dev, right, "oneDNN"));
}

static void wrong_products_fail(void **state) {
    (void)state;
    FAILS(DEVICE, "library 1.2.3", gemm_check(dev, dense_a, "library 1.2.3"));
    FAILS(DEVICE, dev->isa, gemm_check(dev, dense_a, "library"));
    FAILS(DEVICE, "weight gradient", gemm_check(dev, dense_a, "library"));
    FAILS(DEVICE, "M 1, N 37, K 5, A transposed with row stride 4", gemm_check(dev, dense_a, "library"));
    FAILS(DEVICE, "M 38, N 1, K 19", gemm_check(dev, dense_d, "library"));
    FAILS(DEVICE, "weight gradient, accumulated", gemm_check(dev, forgets_d, "library"));
    FAILS(DEVICE, "forward with bias", gemm_check(dev, forgets_bias, "library"));
    FAILS(DEVICE, "fp32 to fp32", gemm_check(dev, rounds_operands, "library"));
    FAILS(DEVICE, "D[34,64]", gemm_check(dev, last_element, "library"));
    FAILS(DEVICE, "forward", gemm_check(dev, nothing, "library"));
    FAILS(DEVICE, "no kernel", gemm_check(dev, fails, "library"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_products_pass),
        cmocka_unit_test(wrong_products_fail),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
