#include "layers/crossentropy.h"

#include <math.h>

#include "runtime/simd.h"

/* Two sweeps of a row, the second from cache: the loss, with the sum of exponentials rescaled whenever a chunk raises
 * the maximum, and the gradient. */
SIMD_CLONES static float loss_row(dtype t, void *dlogits, const float *x, i64 V, i64 target, float scale) {
    float most = -INFINITY, least = INFINITY;
    double sum = 0;
    for (i64 v = 0; v < V; v += SIMD_CHUNK) {
        i64 n = simd_chunk(V - v);
        float before = most, s = 0;
#pragma omp simd reduction(max : most) reduction(min : least)
        for (i64 i = v; i < v + n; i++) {
            most = x[i] > most ? x[i] : most;
            least = x[i] < least ? x[i] : least;
        }
#pragma omp simd reduction(+ : s)
        for (i64 i = v; i < v + n; i++) s += simd_expf(x[i] - most);
        sum = (most > before ? sum * exp((double)before - most) : sum) + s;
    }
    /* -inf would pass as a probability of 0, but it comes from an overflow; NaN and +inf show by themselves */
    if (least == -INFINITY) sum = NAN;
    float loss = (float)(log(sum) + most - x[target]);
    if (!dlogits) return loss;
    float factor = (float)(scale / sum);
    for (i64 v = 0; v < V; v += SIMD_CHUNK) {
        float out[SIMD_CHUNK];
        i64 n = simd_chunk(V - v);
        for (i64 i = 0; i < n; i++) out[i] = simd_expf(x[v + i] - most) * factor;
        if (target >= v && target < v + n) out[target - v] -= scale;
        store_f32(at(dlogits, t, v), out, t, n);
    }
    return loss;
}

static status crossentropy_forward_backward_cpu(device *dev, dtype t, void *dlogits, float *losses, const float *logits,
                                                const int32_t *targets, i64 N, i64 V, float scale) {
    (void)dev;
    for (i64 n = 0; n < N; n++)
        if (targets[n] < -1 || targets[n] >= V)
            FAIL(DATA, "crossentropy: target %d at %lld, expected -1 to %lld", targets[n], (long long)n,
                 (long long)(V - 1));
#pragma omp parallel for schedule(static)
    for (i64 n = 0; n < N; n++) {
        void *d = dlogits ? at(dlogits, t, n * V) : NULL;
        if (targets[n] >= 0) {
            losses[n] = loss_row(t, d, logits + n * V, V, targets[n], scale);
        } else {
            losses[n] = 0;
            if (d) memset(d, 0, (size_t)V * dtype_bytes(t));
        }
    }
    return STATUS_OK;
}

status crossentropy_forward_backward(device *dev, dtype t, void *dlogits, float *losses, const float *logits,
                                     const int32_t *targets, i64 N, i64 V, float scale) {
    if (N < 1 || V < 1) FAIL(ARG, "crossentropy: N %lld, V %lld, expected at least 1", (long long)N, (long long)V);
    if (dlogits == logits && t != F32) FAIL(ARG, "crossentropy: bf16 gradient in place of f32 logits, expected f32");
    return DISPATCH(dev, crossentropy_forward_backward, t, dlogits, losses, logits, targets, N, V, scale);
}

static status losses_sum_cpu(device *dev, double *sum, const float *losses, i64 N, bool accumulate) {
    (void)dev;
    double total = accumulate ? *sum : 0;
    for (i64 n = 0; n < N; n++) total += losses[n];
    *sum = total;
    return STATUS_OK;
}

status losses_sum(device *dev, double *sum, const float *losses, i64 N, bool accumulate) {
    return DISPATCH(dev, losses_sum, sum, losses, N, accumulate);
}
