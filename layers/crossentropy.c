#include "layers/crossentropy.h"

#include <math.h>

#include "runtime/simd.h"

/* Reads a row twice, the second time from cache. The first pass computes the loss; it rescales the sum of exponentials when
 * a chunk raises the maximum. The second computes the gradient. dlogits may be logits: a chunk is read whole before it is
 * written. */
SIMD_CLONES static float loss_row(dtype t, void *dlogits, dtype lt, const void *logits, i64 V, i64 target,
                                  float scale) {
    float most = -INFINITY, least = INFINITY, wide[SIMD_CHUNK], at_target;
    double sum = 0;
    simd_load_f32(&at_target, tensor_at(logits, lt, target), lt, 1);
    for (i64 v = 0; v < V; v += SIMD_CHUNK) {
        i64 n = simd_chunk(V - v);
        const float *x = simd_view_f32(wide, tensor_at(logits, lt, v), lt, n);
        float before = most, s = 0;
#pragma omp simd reduction(max : most) reduction(min : least)
        for (i64 i = 0; i < n; i++) {
            most = x[i] > most ? x[i] : most;
            least = x[i] < least ? x[i] : least;
        }
#pragma omp simd reduction(+ : s)
        for (i64 i = 0; i < n; i++) s += simd_expf(x[i] - most);
        sum = (most > before ? sum * exp((double)before - most) : sum) + s;
    }
    /* -inf comes from an overflow and would count as a probability of 0; NaN and +inf reach the loss without help */
    if (least == -INFINITY) sum = NAN;
    float loss = (float)(log(sum) + most - at_target);
    if (!dlogits) return loss;
    float factor = (float)(scale / sum);
    for (i64 v = 0; v < V; v += SIMD_CHUNK) {
        float out[SIMD_CHUNK];
        i64 n = simd_chunk(V - v);
        const float *x = simd_view_f32(wide, tensor_at(logits, lt, v), lt, n);
        for (i64 i = 0; i < n; i++) out[i] = simd_expf(x[i] - most) * factor;
        if (target >= v && target < v + n) out[target - v] -= scale;
        simd_store_f32(tensor_at(dlogits, t, v), out, t, n);
    }
    return loss;
}

status crossentropy_forward_backward_cpu(device *dev, dtype t, void *dlogits, float *losses,
                                         const crossentropy_logits *l, const int32_t *targets, float scale) {
    (void)dev;
    for (i64 n = 0; n < l->N; n++)
        if (targets[n] < -1 || targets[n] >= l->V)
            FAIL(DATA, "crossentropy: target %d at %ld, expected -1 to %ld", targets[n], n, l->V - 1);
#pragma omp parallel for schedule(static)
    for (i64 n = 0; n < l->N; n++) {
        void *d = dlogits ? tensor_at(dlogits, t, n * l->ld) : NULL;
        if (targets[n] >= 0) {
            losses[n] = loss_row(t, d, l->t, tensor_at(l->x, l->t, n * l->ld), l->V, targets[n], scale);
        } else {
            losses[n] = 0;
            if (d) memset(d, 0, (size_t)l->V * dtype_bytes(t));
        }
    }
    return STATUS_OK;
}

status crossentropy_forward_backward(device *dev, dtype t, void *dlogits, float *losses, const crossentropy_logits *l,
                                     const int32_t *targets, float scale) {
    if (l->N < 1 || l->V < 1) FAIL(ARG, "crossentropy: N %ld, V %ld, expected at least 1", l->N, l->V);
    if (l->ld < l->V) FAIL(ARG, "crossentropy: row stride %ld, expected at least V = %ld", l->ld, l->V);
    if (l->t != F32 && t != l->t) FAIL(ARG, "crossentropy: fp32 gradient of bf16 logits, expected bf16");
    if (dlogits == l->x && t != l->t)
        FAIL(ARG, "crossentropy: bf16 gradient in place of fp32 logits, expected both of one dtype");
    uint64_t since = profile_begin(dev->profile);
    TRY(DISPATCH(dev, crossentropy_forward_backward, t, dlogits, losses, l, targets, scale));
    profile_end(dev->profile, PROFILE_LOSS, since);
    return STATUS_OK;
}

status crossentropy_sum_losses_cpu(device *dev, double *sum, const float *losses, i64 N, bool accumulate) {
    (void)dev;
    double total = accumulate ? *sum : 0;
    for (i64 n = 0; n < N; n++) total += losses[n];
    *sum = total;
    return STATUS_OK;
}

status crossentropy_sum_losses(device *dev, double *sum, const float *losses, i64 N, bool accumulate) {
    if (N < 1) FAIL(ARG, "crossentropy_sum_losses: N %ld, expected at least 1", N);
    return DISPATCH(dev, crossentropy_sum_losses, sum, losses, N, accumulate);
}
