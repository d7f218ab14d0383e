#include "runtime/gemm_backend.h"

status gemm(device *dev, const gemm_args *g) {
    if (g->M <= 0 || g->N <= 0 || g->K <= 0)
        FAIL(ARG, "gemm: M %lld, N %lld, K %lld, expected at least 1", (long long)g->M, (long long)g->N,
             (long long)g->K);
    i64 a_columns = g->trans_a ? g->M : g->K, b_columns = g->trans_b ? g->K : g->N;
    if (g->lda < a_columns || g->ldb < b_columns || g->ldd < g->N)
        FAIL(ARG, "gemm: row strides lda %lld, ldb %lld, ldd %lld, expected at least %lld, %lld, %lld",
             (long long)g->lda, (long long)g->ldb, (long long)g->ldd, (long long)a_columns, (long long)b_columns,
             (long long)g->N);
    if (!g->A || !g->B || !g->D) FAIL(ARG, "gemm: A, B or D is NULL");
    if (g->d != g->ab && g->d != F32)
        FAIL(ARG, "gemm: operands %s, D %s, expected the same or D fp32", dtype_name(g->ab), dtype_name(g->d));
    if (g->accumulate && (g->d != F32 || g->bias || g->residual))
        FAIL(ARG, "gemm: accumulate with %s, expected D fp32 without bias and residual",
             g->d != F32 ? "D bf16"
             : g->bias   ? "bias"
                         : "residual");
    TRY(DISPATCH(dev, gemm, g));
    dev->flops.work[g->work] += 2 * (uint64_t)g->M * (uint64_t)g->N * (uint64_t)g->K;
    return STATUS_OK;
}

void gemm_weights_changed(device *dev) {
    if (dev->kind == DEVICE_CPU) gemm_weights_changed_cpu(dev);
}

size_t gemm_memory_bytes(const device *dev) {
#ifdef TALLY_CUDA
    if (dev->kind == DEVICE_CUDA) return gemm_memory_bytes_cuda(dev);
#endif
    return gemm_memory_bytes_cpu(dev);
}

status gemm_measure_peak(device *dev, dtype t, double seconds, double *flops_per_s) {
    return DISPATCH(dev, gemm_measure_peak, t, seconds, flops_per_s);
}
