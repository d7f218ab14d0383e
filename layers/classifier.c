#include "layers/classifier.h"

#include "layers/crossentropy.h"
#include "runtime/gemm.h"

enum { ROW = 64, TILE = 128 };

static bool in_place(const device *dev, dtype t) { return t == F32 || dev->kind == DEVICE_CUDA; }
static dtype logits_type(const device *dev, dtype t) { return dev->kind == DEVICE_CUDA ? t : F32; }
static i64 logits_stride(const device *dev, i64 V) { return dev->kind == DEVICE_CUDA ? (V + ROW - 1) / ROW * ROW : V; }

static i64 chunk_cpu(i64 N, i64 V) {
    i64 chunk = (128 << 20) / (4 * V);
    i64 half = (N + 1) / 2;
    if (chunk > half) chunk = half;
    return chunk < 1 ? 1 : chunk;
}

static i64 chunk_cuda(i64 N, i64 row_bytes) {
    i64 most = ((i64)2 << 30) / row_bytes / TILE * TILE;
    if (most < TILE) most = TILE;
    i64 chunks = (N + most - 1) / most;
    return chunks == 1 ? N : ((N + chunks - 1) / chunks + TILE - 1) / TILE * TILE;
}

static size_t row_bytes(const device *dev, dtype t, i64 V) {
    return (size_t)logits_stride(dev, V) * dtype_bytes(logits_type(dev, t));
}

i64 classifier_chunk(const device *dev, dtype t, i64 N, i64 V) {
    return dev->kind == DEVICE_CUDA ? chunk_cuda(N, (i64)row_bytes(dev, t, V)) : chunk_cpu(N, V);
}

static size_t chunk_bytes(const device *dev, dtype t, i64 N, i64 V) {
    return ((size_t)classifier_chunk(dev, t, N, V) * row_bytes(dev, t, V) + 255) & ~(size_t)255;
}

size_t classifier_logits_bytes(const device *dev, dtype t, i64 N, i64 V) {
    size_t behind = in_place(dev, t) ? 0 : (size_t)(classifier_chunk(dev, t, N, V) * V) * dtype_bytes(t);
    return chunk_bytes(dev, t, N, V) + behind;
}

status classifier_forward_backward(device *dev, dtype t, float *losses, void *dx, const void *x, const classifier *c,
                                   token_batch b, float scale) {
    const i64 N = b.B * b.T, C = c->C, V = c->V;
    if (N < 1 || C < 1 || V < 1) FAIL(ARG, "classifier: N %ld, C %ld, V %ld, expected positive", N, C, V);
    if (dx && !c->dw) FAIL(ARG, "classifier: dx without dw, expected both or neither");
    i64 chunk = classifier_chunk(dev, t, N, V), ld = logits_stride(dev, V);
    dtype lt = logits_type(dev, t);
    void *logits = c->logits, *dlogits = !dx                ? NULL
                                         : in_place(dev, t) ? logits
                                                            : (char *)logits + chunk_bytes(dev, t, N, V);
    for (i64 first = 0; first < N; first += chunk) {
        i64 n = first + chunk < N ? chunk : N - first;
        const void *xc = tensor_at(x, t, first * C);
        TRY(gemm(dev, &(gemm_args){.M = n,
                                   .N = V,
                                   .K = C,
                                   .A = xc,
                                   .lda = C,
                                   .B = c->w,
                                   .ldb = C,
                                   .trans_b = true,
                                   .D = logits,
                                   .ldd = ld,
                                   .ab = t,
                                   .d = lt,
                                   .b_is_weight = true,
                                   .work = device_forward_work(dev)}));
        const crossentropy_logits l = {.x = logits, .t = lt, .N = n, .V = V, .ld = ld};
        TRY(crossentropy_forward_backward(dev, t, dlogits, losses + first, &l, b.targets + first, scale));
        if (!dx) continue;
        TRY(gemm(dev, &(gemm_args){.M = V,
                                   .N = C,
                                   .K = n,
                                   .A = dlogits,
                                   .lda = ld,
                                   .trans_a = true,
                                   .B = xc,
                                   .ldb = C,
                                   .D = c->dw,
                                   .ldd = C,
                                   .ab = t,
                                   .d = F32,
                                   .accumulate = c->accumulate || first > 0,
                                   .work = WORK_WGRAD}));
        TRY(gemm(dev, &(gemm_args){.M = n,
                                   .N = C,
                                   .K = V,
                                   .A = dlogits,
                                   .lda = ld,
                                   .B = c->w,
                                   .ldb = C,
                                   .D = tensor_at(dx, t, first * C),
                                   .ldd = C,
                                   .ab = t,
                                   .d = t,
                                   .b_is_weight = true,
                                   .work = WORK_DGRAD}));
    }
    return STATUS_OK;
}
