#include "train/checkpoint/finite.h"

#include "runtime/simd.h"
#include "train/checkpoint/tensor_set.h"

/* An exponent of all ones is an infinity or a NaN. The loops do not end early, so that they are vectorised. */
SIMD_CLONES static unsigned f32_not_finite(const uint32_t *x, i64 n) {
    unsigned found = 0;
    for (i64 i = 0; i < n; i++) found |= (x[i] & 0x7f800000u) == 0x7f800000u;
    return found;
}

/* exponent: its bits */
SIMD_CLONES static unsigned half_not_finite(const uint16_t *x, i64 n, uint16_t exponent) {
    unsigned short found = 0;
    for (i64 i = 0; i < n; i++) found |= (x[i] & exponent) == exponent;
    return found;
}

bool finite_all(const void *x, dtype t, i64 n) {
    return !(t == F32 ? f32_not_finite(x, n) : half_not_finite(x, n, t == BF16 ? 0x7f80 : 0x7c00));
}

status finite_check(const char *name, const void *x, dtype t, i64 n) {
    if (!finite_all(x, t, n)) FAIL(NUMERIC, "\"%s\" holds values that are not finite", name);
    return STATUS_OK;
}

status finite_model(bool *finite, const char *folder, int rank, int ranks) {
    enum { CHUNK = 1 << 14 };
    _Alignas(float) char chunk[CHUNK];
    tensor_set set;
    *finite = true;
    TRY(tensor_set_open_model(&set, folder));
    for (int i = rank; i < set.count && *finite; i += ranks) {
        const safetensor *t = set.list[i].tensor;
        const char *data = tensor_set_data(&set.list[i]);
        if (t->mask) continue;
        for (i64 at = 0; at < t->bytes && *finite; at += CHUNK) { /* the data may be at any address, chunk is not */
            i64 bytes = t->bytes - at < CHUNK ? t->bytes - at : CHUNK;
            memcpy(chunk, data + at, (size_t)bytes);
            *finite = finite_all(chunk, t->type, bytes / (i64)dtype_bytes(t->type));
        }
    }
    tensor_set_close(&set);
    return STATUS_OK;
}
