#include "optim/gradnorm.h"

#include "runtime/simd.h"

enum { BLOCK = 65536 };

static i64 block_count(i64 n) { return (n + BLOCK - 1) / BLOCK; }

size_t gradnorm_scratch_bytes(i64 n) { return (size_t)block_count(n) * sizeof(double); }

SIMD_CLONES static double block_sum(const float *x, i64 n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (i64 i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

status gradnorm_sum_squares_cpu(device *dev, double *sum, const float *x, i64 n, void *scratch) {
    (void)dev;
    double *sums = scratch;
#pragma omp parallel for schedule(static)
    for (i64 b = 0; b < block_count(n); b++) {
        i64 left = n - b * BLOCK;
        sums[b] = block_sum(x + b * BLOCK, left < BLOCK ? left : BLOCK);
    }
    for (i64 b = 0; b < block_count(n); b++) *sum += sums[b];
    return STATUS_OK;
}

status gradnorm_sum_squares(device *dev, double *sum, const float *x, i64 n, void *scratch) {
    if (n < 1) FAIL(ARG, "gradnorm: %ld elements, expected at least 1", n);
    return DISPATCH(dev, gradnorm_sum_squares, sum, x, n, scratch);
}
