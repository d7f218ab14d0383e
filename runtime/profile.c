#include "runtime/profile.h"

static bool same_shape(const profile_gemm *a, const profile_gemm *b) {
    return a->M == b->M && a->N == b->N && a->K == b->K && a->trans_a == b->trans_a && a->trans_b == b->trans_b &&
           a->accumulate == b->accumulate;
}

void profile_end_gemm(profile *p, profile_gemm shape, uint64_t since) {
    if (!p) return;
    uint64_t ns = meter_clock_ns() - since;
    p->ns[PROFILE_GEMM] += ns;
    int i = 0;
    while (i < p->gemm_count && !same_shape(&p->gemms[i], &shape)) i++;
    if (i == PROFILE_GEMMS) return;
    if (i == p->gemm_count) {
        shape.calls = shape.ns = 0;
        p->gemms[p->gemm_count++] = shape;
    }
    p->gemms[i].calls++;
    p->gemms[i].ns += ns;
}
