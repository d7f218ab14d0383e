#include "runtime/profile.h"

static bool same_shape(const profile_gemm *a, const profile_gemm *b) {
    return a->M == b->M && a->N == b->N && a->K == b->K && a->trans_a == b->trans_a && a->trans_b == b->trans_b &&
           a->accumulate == b->accumulate;
}

void profile_add_gemm(profile *p, const profile_gemm *g) {
    int i = 0;
    while (i < p->gemm_count && !same_shape(&p->gemms[i], g)) i++;
    if (i == PROFILE_GEMMS) return;
    if (i == p->gemm_count) {
        p->gemms[i] = *g;
        p->gemms[i].calls = p->gemms[i].ns = 0;
        p->gemm_count++;
    }
    p->gemms[i].calls += g->calls;
    p->gemms[i].ns += g->ns;
}

void profile_end_gemm(profile *p, profile_gemm shape, uint64_t since) {
    if (!p) return;
    shape.calls = 1;
    shape.ns = meter_clock_ns() - since;
    p->ns[PROFILE_GEMM] += shape.ns;
    profile_add_gemm(p, &shape);
}
