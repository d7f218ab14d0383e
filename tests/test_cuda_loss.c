#include "layers/classifier.h"
#include "layers/crossentropy.h"
#include "runtime/gemm.h"
#include "tests/tensor_pair.h"

static tensor_pair targets_of(i64 N, i64 V) {
    tensor_pair w = tensor_pair_open(F32, N, 0, 0, 0); /* 4 bytes each as well */
    int32_t *targets = w.host;
    for (i64 n = 0; n < N; n++) targets[n] = n % 4 == 3 ? -1 : (int32_t)rng_below(3, 1, (uint64_t)n, (uint64_t)V);
    if (N > 1) targets[1] = (int32_t)V - 1;
    tensor_pair_upload(&w);
    return w;
}

/* x - max is rounded: an absolute error of up to `range` roundoffs, a relative one of exp (test_crossentropy.c counts the
 * rest of the CPU's). CUDA's exp takes x - max in units of log 2, one rounding more of the same size. */
static double tolerance_of(double range) { return (3 * range + 2 * 280) * F32_ROUNDOFF; }

static void loss_case(dtype t, dtype lt, i64 N, i64 V, i64 ld, i64 offset, float std, bool in_place) {
    const float scale = 0.37f;
    tensor_pair targets = targets_of(N, V), x = tensor_pair_open(lt, N * ld, offset, std, 1);
    tensor_pair d = tensor_pair_open(t, N * ld, offset, 0, 0), losses = tensor_pair_open(F32, N, 0, 0, 0);
    tensor_pair alone = tensor_pair_open(F32, N, 0, 0, 0);
    for (i64 n = 0; n < N; n++) memset(tensor_at(x.host, lt, n * ld + V), 0xff, (size_t)(ld - V) * dtype_bytes(lt));
    tensor_pair_upload(&x);
    const crossentropy_logits l = {.x = x.host, .t = lt, .N = N, .V = V, .ld = ld},
                              cuda_l = {.x = x.cuda, .t = lt, .N = N, .V = V, .ld = ld};
    OK(crossentropy_forward_backward(both.cuda, t, NULL, alone.cuda, &cuda_l, targets.cuda, scale));
    tensor_pair *to = in_place ? &x : &d;
    OK(crossentropy_forward_backward(both.cpu, t, to->host, losses.host, &l, targets.host, scale));
    OK(crossentropy_forward_backward(both.cuda, t, to->cuda, losses.cuda, &cuda_l, targets.cuda, scale));
    double tolerance = tolerance_of(10 * (double)std);
    check_tensor_pair("loss", &losses, tolerance);
    float *a = tensor_pair_download(&losses), *b = tensor_pair_download(&alone);
    assert_memory_equal(a, b, (size_t)N * 4);
    for (i64 n = 3; n < N; n += 4) assert_true(a[n] == 0);
    free(a), free(b);
    check_tensor_pair_rows("gradient", to, N, V, ld, tolerance + (t == BF16 ? 2 * BF16_ROUNDOFF : 0));
    tensor_pair_close(&targets), tensor_pair_close(&x), tensor_pair_close(&d), tensor_pair_close(&losses),
        tensor_pair_close(&alone);
}

static void losses_are_the_cpus(void **state) {
    (void)state;
    /* N, V, ld, offset; the longest rows take 1024 threads several times */
    const i64 shapes[][4] = {{1, 1, 1, 0},         {5, 2, 8, 0},       {9, 61, 64, 0},     {7, 5003, 5056, 0},
                             {2, 90001, 90048, 0}, {6, 1000, 1000, 0}, {6, 1001, 1001, 0}, {5, 512, 520, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (dtype t = F32; t <= BF16; t++)
            for (dtype lt = F32; lt <= t; lt++) {
                const i64 *s = shapes[i];
                bool in_place = t == lt && i % 2;
                loss_case(t, lt, s[0], s[1], s[2], s[3], 1, in_place);
                loss_case(t, lt, s[0], s[1], s[2], s[3], 20, !in_place && t == lt);
            }
}

/* Where the CPU's loss or gradient is not finite, CUDA's is not either: no overflow passes as a small probability. */
static void what_is_not_finite_shows(void **state) {
    (void)state;
    enum { V = 1500, PLACES = 4 };
    const float values[3] = {NAN, INFINITY, -INFINITY};
    const int places[PLACES] = {0, 3, 777, V - 1};
    for (int k = 0; k < 3; k++)
        for (int p = 0; p < PLACES; p++)
            for (int all = 0; all < 2; all++) { /* the other logits alike too */
                float x[V], d[V], loss;
                for (int v = 0; v < V; v++) x[v] = all ? values[k] : 0;
                x[places[p]] = values[k];
                const int32_t target[1] = {3}, none[1] = {-1};
                void *cx = to_cuda(x, sizeof x), *cd = cuda_unwritten(sizeof d), *cl = cuda_unwritten(4);
                void *ct = to_cuda(target, 4), *cn = to_cuda(none, 4);
                const crossentropy_logits l = {.x = cx, .t = F32, .N = 1, .V = V, .ld = V};
                OK(crossentropy_forward_backward(both.cuda, F32, cd, cl, &l, ct, 1));
                from_cuda(&loss, cl, 4), from_cuda(d, cd, sizeof d);
                assert_false(isfinite(loss));
                assert_false(isfinite(d[0]));
                OK(crossentropy_forward_backward(both.cuda, F32, cd, cl, &l, cn, 1));
                from_cuda(&loss, cl, 4), from_cuda(d, cd, sizeof d);
                assert_true(loss == 0 && d[0] == 0 && d[V - 1] == 0);
                cuda_release(cx, sizeof x), cuda_release(cd, sizeof d), cuda_release(cl, 4);
                cuda_release(ct, 4), cuda_release(cn, 4);
            }
}

static void targets_out_of_range_show(void **state) {
    (void)state;
    const int32_t targets[3] = {5, -2, 1};
    float x[3 * 5] = {0}, losses[3], d[3 * 5];
    void *cx = to_cuda(x, sizeof x), *ct = to_cuda(targets, sizeof targets);
    void *cl = cuda_unwritten(sizeof losses), *cd = cuda_unwritten(sizeof d);
    const crossentropy_logits l = {.x = cx, .t = F32, .N = 3, .V = 5, .ld = 5};
    OK(crossentropy_forward_backward(both.cuda, F32, cd, cl, &l, ct, 1));
    from_cuda(losses, cl, sizeof losses), from_cuda(d, cd, sizeof d);
    assert_true(isnan(losses[0]) && isnan(losses[1]) && isfinite(losses[2]));
    for (int i = 0; i < 10; i++) assert_true(d[i] == 0);
    cuda_release(cx, sizeof x), cuda_release(ct, sizeof targets), cuda_release(cl, sizeof losses);
    cuda_release(cd, sizeof d);
}

/* Logits of standard deviation 1 (x of 1, w of 1/sqrt(C)), so that errors below are relative to 1. A sum of K products
 * has K roundings on either side, of partial sums no larger than itself in the L2 sense. In bf16 CUDA rounds logits
 * once more. A loss has its target's logit's error and the mean of all by softmax, of 1 + sqrt(2) times as much (under
 * softmax logits have mean and standard deviation 1); a gradient p - [v == target], as large as p or larger, by
 * sqrt(5) + sqrt(2) (by softmax squared their mean is 2). In bf16 dlogits and dx are rounded on either side. */
typedef struct {
    double loss, dx, dw;
} classifier_tolerance;

static classifier_tolerance classifier_tolerance_of(dtype t, i64 N, i64 C, i64 V) {
    double bf16s = t == BF16 ? BF16_ROUNDOFF : 0, logit = 2 * (double)C * F32_ROUNDOFF + bf16s;
    double dlogits = 4 * logit + tolerance_of(10) + 2 * bf16s;
    return (classifier_tolerance){.loss = 3 * logit + tolerance_of(10),
                                  .dx = dlogits + 2 * (double)V * F32_ROUNDOFF + 2 * bf16s,
                                  .dw = dlogits + 2 * (double)N * F32_ROUNDOFF};
}

static void classifier_case(dtype t, i64 N, i64 C, i64 V, bool accumulate, bool in_place) {
    const float scale = 0.37f;
    const classifier_tolerance tolerance = classifier_tolerance_of(t, N, C, V);
    size_t bytes = classifier_logits_bytes(both.cpu, t, N, V), cuda_bytes = classifier_logits_bytes(both.cuda, t, N, V);
    tensor_pair targets = targets_of(N, V), x = tensor_pair_open(t, N * C, 0, 1, 1);
    tensor_pair w = tensor_pair_open(t, V * C, 0, 1 / sqrtf((float)C), 2), d = tensor_pair_open(t, N * C, 0, 0, 0);
    tensor_pair dw = tensor_pair_open(F32, V * C, 0, accumulate ? 1 : 0, 4);
    tensor_pair losses = tensor_pair_open(F32, N, 0, 0, 0), alone = tensor_pair_open(F32, N, 0, 0, 0),
                *dx = in_place ? &x : &d;
    void *logits = malloc(bytes), *cuda_logits = cuda_unwritten(cuda_bytes);
    gemm_weights_changed(both.cpu);
    for (int k = 0; k < 2; k++) { /* the first time losses only */
        tensor_pair *l = k ? &losses : &alone;
        const classifier head = {
            .w = w.host, .dw = dw.host, .accumulate = accumulate, .logits = logits, .C = C, .V = V};
        const classifier cuda_head = {
            .w = w.cuda, .dw = dw.cuda, .accumulate = accumulate, .logits = cuda_logits, .C = C, .V = V};
        OK(classifier_forward_backward(both.cpu, t, l->host, k ? dx->host : NULL, x.host, &head,
                                       (token_batch){.targets = targets.host, .B = 1, .T = N}, scale));
        OK(classifier_forward_backward(both.cuda, t, l->cuda, k ? dx->cuda : NULL, x.cuda, &cuda_head,
                                       (token_batch){.targets = targets.cuda, .B = 1, .T = N}, scale));
    }
    check_tensor_pair("loss", &losses, tolerance.loss);
    float *a = tensor_pair_download(&losses), *b = tensor_pair_download(&alone);
    assert_memory_equal(a, b, (size_t)N * 4);
    free(a), free(b);
    check_tensor_pair("dx", dx, tolerance.dx);
    check_tensor_pair("dw", &dw, tolerance.dw);
    cuda_release(cuda_logits, cuda_bytes), free(logits);
    tensor_pair_close(&targets), tensor_pair_close(&x), tensor_pair_close(&w), tensor_pair_close(&d),
        tensor_pair_close(&dw);
    tensor_pair_close(&losses), tensor_pair_close(&alone);
}

/* The CPU in two chunks, CUDA in one: its second would begin behind 2 GiB. */
static void the_classifier_is_the_cpus(void **state) {
    (void)state;
    const i64 shapes[][3] = {{1, 8, 61}, {37, 24, 61}, {64, 40, 128}, {130, 64, 1003}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (dtype t = F32; t <= BF16; t++)
            for (int how = 0; how < 4; how++)
                classifier_case(t, shapes[i][0], shapes[i][1], shapes[i][2], how % 2, how / 2);
    float x[1];
    FAILS(ARG, "dx without dw",
          classifier_forward_backward(both.cuda, F32, x, x, x, &(classifier){.w = x, .logits = x, .C = 1, .V = 1},
                                      (token_batch){.B = 1, .T = 1}, 1));
}

static void sums_of_losses(void **state) {
    (void)state;
    for (i64 N = 1; N < 20000; N = N * 7 + 3) {
        tensor_pair losses = tensor_pair_open(F32, N, 0, 3, 9);
        double want = 0, size = 0, sum[2] = {0.5, 0.5};
        const float *l = losses.host;
        for (i64 n = 0; n < N; n++) want += l[n], size += fabs((double)l[n]);
        void *cs = to_cuda(sum, sizeof sum);
        for (int k = 0; k < 2; k++) OK(crossentropy_sum_losses(both.cuda, (double *)cs + k, losses.cuda, N, k == 1));
        from_cuda(sum, cs, sizeof sum);
        /* f64: one rounding a term at most, of 2^-53 of all so far */
        assert_true(fabs(sum[0] - want) <= (double)N * 1.2e-16 * size);
        assert_true(sum[1] == sum[0] + 0.5);
        cuda_release(cs, sizeof sum);
        tensor_pair_close(&losses);
    }
}

/* arithmetic only: no such device is needed */
static void chunks_of_tokens(void **state) {
    (void)state;
    const device cpu = {.kind = DEVICE_CPU}, cuda = {.kind = DEVICE_CUDA};
    assert_int_equal(classifier_chunk(&cpu, BF16, 4096, 50257), 667);
    assert_int_equal(classifier_chunk(&cpu, BF16, 100, 61), 50);
    assert_int_equal(classifier_logits_bytes(&cpu, BF16, 100, 61), 12288 + 6100);
    assert_int_equal(classifier_chunk(&cuda, BF16, 16384, 50257), 16384);
    assert_int_equal(classifier_logits_bytes(&cuda, BF16, 16384, 50257), (size_t)16384 * 50304 * 2);
    assert_int_equal(classifier_chunk(&cuda, BF16, 65536, 50257), 65536 / 4);
    assert_int_equal(classifier_chunk(&cuda, F32, 16384, 50257), 16384 / 2);
    assert_int_equal(classifier_chunk(&cuda, BF16, 16385, 128256), 128 * 65); /* two, in tiles */
    assert_int_equal(classifier_chunk(&cuda, BF16, 3, 61), 3);
    assert_int_equal(classifier_chunk(&cuda, F32, 1000, (i64)1 << 30), 128); /* never less than a tile */
}

int main(void) {
    NEEDS_CUDA("test_cuda_loss");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_the_cpus),       cmocka_unit_test(what_is_not_finite_shows),
        cmocka_unit_test(targets_out_of_range_show), cmocka_unit_test(sums_of_losses),
        cmocka_unit_test(chunks_of_tokens),          cmocka_unit_test(the_classifier_is_the_cpus),
    };
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
