#include "runtime/gemm_backend.h"

status gemm(device *dev, const gemm_args *g) {
    if (g->M <= 0 || g->N <= 0 || g->K <= 0)
        FAIL(ARG, "gemm: M %ld, N %ld, K %ld, expected at least 1", g->M, g->N, g->K);
    i64 a_columns = g->trans_a ? g->M : g->K, b_columns = g->trans_b ? g->K : g->N;
    if (g->lda < a_columns || g->ldb < b_columns || g->ldd < g->N)
        FAIL(ARG, "gemm: row strides lda %ld, ldb %ld, ldd %ld, expected at least %ld, %ld, %ld", g->lda, g->ldb,
             g->ldd, a_columns, b_columns, g->N);
    if (!g->A || !g->B || !g->D) FAIL(ARG, "gemm: A, B or D is NULL");
    if (g->d != g->ab && g->d != F32)
        FAIL(ARG, "gemm: operands %s, D %s, expected D of the operands' dtype or fp32", dtype_name(g->ab),
             dtype_name(g->d));
    if (g->accumulate && (g->d != F32 || g->bias || g->residual))
        FAIL(ARG, "gemm: accumulate with %s, expected D fp32 without bias and residual",
             g->d != F32 ? "D bf16"
             : g->bias   ? "bias"
                         : "residual");
    if (g->bias && g->d != g->ab)
        FAIL(ARG, "gemm: bias with operands %s and D %s, expected D of the operands' dtype", dtype_name(g->ab),
             dtype_name(g->d));
    if (g->dgelu_of && !gemm_fuses_dgelu(dev, g)) FAIL(ARG, "gemm: dgelu_of is set, but gemm_fuses_dgelu is false");
    uint64_t since = profile_begin(dev->profile);
    TRY(dev->dry ? gemm_dry(dev, g) : HALF(dev, gemm)(dev, g));
    profile_end_gemm(dev->profile, (profile_gemm){g->M, g->N, g->K, g->trans_a, g->trans_b, g->accumulate, 0, 0},
                     since);
    dev->flops.work[g->work] += 2 * (u128)g->M * (u128)g->N * (u128)g->K;
    return STATUS_OK;
}

bool gemm_fuses_dgelu(const device *dev, const gemm_args *g) {
    if (dev->kind != DEVICE_CUDA || g->ab != BF16 || g->d != BF16 || g->bias || g->residual) return false;
    uintptr_t pointers = (uintptr_t)g->A | (uintptr_t)g->B | (uintptr_t)g->D | (uintptr_t)g->dgelu_of;
    return pointers % 16 == 0 && (g->lda | g->ldb | g->ldd) % 8 == 0;
}

void gemm_search(device *dev, bool on) { HALF(dev, gemm_search)(dev, on); }

void gemm_weights_changed(device *dev) {
    if (!dev->dry) HALF(dev, gemm_weights_changed)(dev);
}

size_t gemm_memory_bytes(const device *dev) { return dev->libraries[DEVICE_GEMM].bytes; }

status gemm_open(device *dev) { return HALF(dev, gemm_open)(dev); }

status gemm_reserve(device *dev, const device *dry) { return HALF(dev, gemm_reserve)(dev, dry); }

status gemm_measure_peak(device *dev, dtype t, double seconds, double *flops_per_s) {
    return HALF(dev, gemm_measure_peak)(dev, t, seconds, flops_per_s);
}

/* Both signs, magnitudes in [1,2), all bits random: power draw, and so the clock rate, depends on the data. */
void gemm_trial_values(void *x, dtype t, i64 n) {
    uint32_t bits = 1;
    for (i64 i = 0; i < n; i++) {
        bits = bits * 1664525u + 1013904223u;
        uint32_t value = (bits & 0x807fffffu) | 0x3f800000u;
        if (t == BF16) ((bf16 *)x)[i] = (bf16)(value >> 16);
        else memcpy((float *)x + i, &value, 4);
    }
}
