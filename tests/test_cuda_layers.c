#include "layers/activation.h"
#include "tests/cuda_pair.h"

static double roundoff(dtype t) { return t == F32 ? F32_ROUNDOFF : BF16_ROUNDOFF; }

static void gelu_case(dtype t, i64 N, i64 F) {
    i64 n = N * F;
    size_t bytes = (size_t)n * dtype_bytes(t);
    void *x = malloc(bytes), *y = malloc(bytes);
    random_tensor(x, NULL, t, n, 2, 1);
    void *cx = to_cuda(x, bytes), *cy = cuda_unwritten(bytes);
    OK(gelu_forward(both.cpu, t, y, x, N, F));
    OK(gelu_forward(both.cuda, t, cy, cx, N, F));
    check_same("gelu", t, cy, y, n, 4 * roundoff(t));
    cuda_release(cx, bytes);
    cuda_release(cy, bytes);
    free(x);
    free(y);
}

static void gelu_is_the_cpus(void **state) {
    (void)state;
    NEEDS_CUDA();
    for (int t = F32; t <= BF16; t++) {
        gelu_case((dtype)t, 3, 1000);
        gelu_case((dtype)t, 5, 7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gelu_is_the_cpus)};
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
