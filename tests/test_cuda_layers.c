#include "layers/activation.h"
#include "layers/rope.h"
#include "tests/starts.h"
#include "tests/tensor_pair.h"

/* Roundings between a value of one device and the other's: up to 20 each (test_activation.c counts the CPU's; on CUDA exp
 * is good to 2 ulp and the quotient to 2). bf16: each rounds once. */
static double pointwise(dtype t) { return 40 * F32_ROUNDOFF + (t == BF16 ? 2 * BF16_ROUNDOFF : 0); }

static void gelu_case(dtype t, i64 N, i64 F, i64 offset, bool in_place) {
    tensor_pair x = tensor_pair_open(t, N * F, offset, 2, 1), y = tensor_pair_open(t, N * F, offset, 0, 0);
    tensor_pair dy = tensor_pair_open(t, N * F, offset, 1, 2), dx = tensor_pair_open(t, N * F, offset, 0, 0);
    tensor_pair *to = in_place ? &dy : &dx;
    OK(activation_gelu_forward(both.cpu, t, y.host, x.host, N, F));
    OK(activation_gelu_forward(both.cuda, t, y.cuda, x.cuda, N, F));
    check_tensor_pair("gelu", &y, pointwise(t));
    OK(activation_gelu_backward(both.cpu, t, to->host, dy.host, x.host, N, F));
    OK(activation_gelu_backward(both.cuda, t, to->cuda, dy.cuda, x.cuda, N, F));
    check_tensor_pair("gelu's gradient", to, pointwise(t));
    tensor_pair_close(&x), tensor_pair_close(&y), tensor_pair_close(&dy), tensor_pair_close(&dx);
}

static void swiglu_case(dtype t, i64 N, i64 F, i64 offset) {
    tensor_pair x = tensor_pair_open(t, 2 * N * F, offset, 2, 1), y = tensor_pair_open(t, N * F, offset, 0, 0);
    tensor_pair dy = tensor_pair_open(t, N * F, offset, 1, 2), dx = tensor_pair_open(t, 2 * N * F, offset, 0, 0);
    OK(activation_swiglu_forward(both.cpu, t, y.host, x.host, N, F));
    OK(activation_swiglu_forward(both.cuda, t, y.cuda, x.cuda, N, F));
    check_tensor_pair("swiglu", &y, pointwise(t));
    OK(activation_swiglu_backward(both.cpu, t, dx.host, dy.host, x.host, N, F));
    OK(activation_swiglu_backward(both.cuda, t, dx.cuda, dy.cuda, x.cuda, N, F));
    check_tensor_pair("swiglu's gradient", &dx, pointwise(t));
    tensor_pair_close(&x), tensor_pair_close(&y), tensor_pair_close(&dy), tensor_pair_close(&dx);
}

static const i64 shapes[][3] = {{1, 1, 0},    {3, 1000, 0}, {5, 7, 0},    {9, 24, 0},   {2, 2048, 0},
                                {4, 3072, 0}, {2, 5000, 0}, {3, 1000, 1}, {2, 1001, 0}, {130, 8, 0}};

static void gelu_is_the_cpus(void **state) {
    (void)state;
    for (dtype t = F32; t <= BF16; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            gelu_case(t, shapes[i][0], shapes[i][1], shapes[i][2], i % 2);
}

static void swiglu_is_the_cpus(void **state) {
    (void)state;
    for (dtype t = F32; t <= BF16; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            swiglu_case(t, shapes[i][0], shapes[i][1], shapes[i][2]);
}

static void far_ends(void **state) {
    (void)state;
    float x[6] = {-200, 200, NAN, 3, 3, 3}, ones[6] = {1, 1, 1, 1, 1, 1}, y[6], dx[6];
    void *cx = to_cuda(x, sizeof x), *cones = to_cuda(ones, sizeof ones);
    void *cy = cuda_unwritten(sizeof y), *cdx = cuda_unwritten(sizeof dx);
    OK(activation_gelu_forward(both.cuda, F32, cy, cx, 1, 6));
    OK(activation_gelu_backward(both.cuda, F32, cdx, cones, cx, 1, 6));
    from_cuda(y, cy, sizeof y), from_cuda(dx, cdx, sizeof dx);
    assert_true(y[0] == 0 && y[1] == 200 && isnan(y[2]));
    assert_true(dx[0] == 0 && dx[1] == 1 && isnan(dx[2]));
    OK(activation_swiglu_forward(both.cuda, F32, cy, cx, 1, 3));
    OK(activation_swiglu_backward(both.cuda, F32, cdx, cones, cx, 1, 3));
    from_cuda(y, cy, sizeof y), from_cuda(dx, cdx, sizeof dx);
    assert_true(y[0] == 0 && y[1] == 600 && isnan(y[2]));
    assert_true(dx[0] == 0 && dx[1] == 3 && isnan(dx[2]) && dx[3] == 0 && dx[4] == 200 && isnan(dx[5]));
    cuda_release(cx, sizeof x), cuda_release(cones, sizeof ones), cuda_release(cy, sizeof y);
    cuda_release(cdx, sizeof dx);
}

/* the gaps between rows must not change: they are compared too */
static void rope_case_of(dtype t, rope_shape s, const int32_t *cuda_starts, i64 D, i64 first, i64 offset) {
    const i64 B = s.B, T = s.T, ld = s.ld;
    rope_shape cuda_s = s;
    cuda_s.starts = cuda_starts;
    i64 entries = (first + T) * D / 2;
    tensor_pair x = tensor_pair_open(t, B * T * ld, offset, 1, 7);
    tensor_pair cosines = tensor_pair_open(F32, entries, offset, 0, 0),
                sines = tensor_pair_open(F32, entries, offset, 0, 0);
    rope_table(cosines.host, sines.host, first + T, D, (rope_scaling){.theta = 10000});
    OK(both.cuda->ops->copy(both.cuda, cosines.cuda, cosines.host, (size_t)entries * 4));
    OK(both.cuda->ops->copy(both.cuda, sines.cuda, sines.host, (size_t)entries * 4));
    const rope r = {.cos = cosines.host, .sin = sines.host, .positions = first + T, .D = D};
    const rope cuda_r = {.cos = cosines.cuda, .sin = sines.cuda, .positions = first + T, .D = D};
    /* two products and their sum on each side */
    double tolerance = 6 * F32_ROUNDOFF + (t == BF16 ? 2 * BF16_ROUNDOFF : 0);
    OK(rope_forward(both.cpu, t, x.host, &r, s, first));
    OK(rope_forward(both.cuda, t, x.cuda, &cuda_r, cuda_s, first));
    check_tensor_pair("rotated", &x, tolerance);
    OK(rope_backward(both.cpu, t, x.host, &r, s));
    OK(rope_backward(both.cuda, t, x.cuda, &cuda_r, cuda_s));
    check_tensor_pair("rotated back", &x, 2 * tolerance);
    tensor_pair_close(&x), tensor_pair_close(&cosines), tensor_pair_close(&sines);
}

static void rope_case(dtype t, i64 B, i64 T, i64 G, i64 D, i64 ld, i64 first, i64 offset) {
    rope_case_of(t, (rope_shape){.B = B, .T = T, .G = G, .ld = ld}, NULL, D, first, offset);
}

static void rope_documents_case(dtype t, i64 B, i64 T, i64 G, i64 D, i64 ld) {
    size_t bytes = (size_t)(B * T) * 4;
    int32_t *starts = starts_draw(B, T, 7);
    void *cuda = to_cuda(starts, bytes);
    rope_case_of(t, (rope_shape){.B = B, .T = T, .G = G, .ld = ld, .starts = starts}, cuda, D, 0, 0);
    cuda_release(cuda, bytes);
    free(starts);
}

static void rope_is_the_cpus(void **state) {
    (void)state;
    for (dtype t = F32; t <= BF16; t++) {
        rope_documents_case(t, 3, 40, 3, 64, 256);
        rope_documents_case(t, 2, 25, 2, 6, 13);
        rope_case(t, 1, 1, 1, 2, 2, 0, 0);
        rope_case(t, 2, 5, 3, 6, 33, 0, 0);
        rope_case(t, 2, 3, 9, 64, 11 * 64, 0, 0);
        rope_case(t, 2, 4, 40, 128, 48 * 128, 3, 0); /* more heads than threads take at once */
        rope_case(t, 1, 4, 2, 1024, 2048, 0, 0);
        rope_case(t, 1, 4, 3, 1022, 3066, 0, 0);
        rope_case(t, 3, 2, 2, 64, 128, 41, 1);
    }
}

int main(void) {
    NEEDS_CUDA("test_cuda_layers");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_is_the_cpus),
        cmocka_unit_test(swiglu_is_the_cpus),
        cmocka_unit_test(far_ends),
        cmocka_unit_test(rope_is_the_cpus),
    };
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
