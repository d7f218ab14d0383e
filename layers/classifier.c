#include "layers/classifier.h"

#include "layers/crossentropy.h"
#include "runtime/gemm.h"

i64 classifier_chunk(i64 N, i64 V) {
    i64 chunk = (128 << 20) / (4 * V);
    i64 half = (N + 1) / 2;
    if (chunk > half) chunk = half;
    return chunk < 1 ? 1 : chunk;
}

static size_t f32_logits_bytes(i64 N, i64 V) { return ((size_t)(classifier_chunk(N, V) * V) * 4 + 255) & ~(size_t)255; }

size_t classifier_logits_bytes(dtype t, i64 N, i64 V) {
    return f32_logits_bytes(N, V) + (t == F32 ? 0 : (size_t)(classifier_chunk(N, V) * V) * dtype_bytes(t));
}

status classifier_forward_backward(device *dev, dtype t, float *losses, void *dx, float *dw, void *logits,
                                   const void *x, const void *w, const int32_t *targets, i64 N, i64 C, i64 V,
                                   float scale, bool accumulate) {
    if (N < 1 || C < 1 || V < 1) FAIL(ARG, "classifier: N %ld, C %ld, V %ld, expected positive", N, C, V);
    if (!dx != !dw) FAIL(ARG, "classifier: dx and dw go together");
    i64 chunk = classifier_chunk(N, V);
    void *dlogits = !dx ? NULL : t == F32 ? logits : (char *)logits + f32_logits_bytes(N, V);
    for (i64 first = 0; first < N; first += chunk) {
        i64 n = first + chunk < N ? chunk : N - first;
        const void *xc = at(x, t, first * C);
        TRY(gemm(dev, &(gemm_args){.M = n,
                                   .N = V,
                                   .K = C,
                                   .A = xc,
                                   .lda = C,
                                   .B = w,
                                   .ldb = C,
                                   .trans_b = true,
                                   .D = logits,
                                   .ldd = V,
                                   .ab = t,
                                   .d = F32,
                                   .b_is_weight = true,
                                   .work = forward_work(dev)}));
        TRY(crossentropy_forward_backward(dev, t, dlogits, losses + first, logits, targets + first, n, V, scale));
        if (!dx) continue;
        TRY(gemm(dev, &(gemm_args){.M = V,
                                   .N = C,
                                   .K = n,
                                   .A = dlogits,
                                   .lda = V,
                                   .trans_a = true,
                                   .B = xc,
                                   .ldb = C,
                                   .D = dw,
                                   .ldd = C,
                                   .ab = t,
                                   .d = F32,
                                   .accumulate = accumulate || first > 0,
                                   .work = WORK_WGRAD}));
        TRY(gemm(dev, &(gemm_args){.M = n,
                                   .N = C,
                                   .K = V,
                                   .A = dlogits,
                                   .lda = V,
                                   .B = w,
                                   .ldb = C,
                                   .D = at(dx, t, first * C),
                                   .ldd = C,
                                   .ab = t,
                                   .d = t,
                                   .b_is_weight = true,
                                   .work = WORK_DGRAD}));
    }
    return STATUS_OK;
}
