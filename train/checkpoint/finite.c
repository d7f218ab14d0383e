#include "train/checkpoint/finite.h"

#include "runtime/simd.h"
#include "train/checkpoint/tensor_set.h"

/* An exponent of all ones is an infinity or a NaN. The loops do not end early, so that they are vectorised. */
SIMD_CLONES static unsigned f32_not_finite(const uint32_t *x, i64 n) {
    unsigned found = 0;
    for (i64 i = 0; i < n; i++) found |= (x[i] & 0x7f800000u) == 0x7f800000u;
    return found;
}

SIMD_CLONES static unsigned bf16_not_finite(const uint16_t *x, i64 n) {
    unsigned short found = 0;
    for (i64 i = 0; i < n; i++) found |= (x[i] & 0x7f80u) == 0x7f80u;
    return found;
}

bool finite_all(const void *x, dtype t, i64 n) { return !(t == F32 ? f32_not_finite(x, n) : bf16_not_finite(x, n)); }

status finite_check(const char *name, const void *x, dtype t, i64 n) {
    if (!finite_all(x, t, n)) FAIL(NUMERIC, "\"%s\" holds values that are not finite", name);
    return STATUS_OK;
}

status finite_model(bool *finite, const char *folder, int rank, int ranks) {
    tensor_set set;
    *finite = true;
    TRY(tensor_set_open_model(&set, folder));
    for (int i = rank; i < set.count && *finite; i += ranks) {
        const safetensor *t = set.list[i].tensor;
        *finite = finite_all(tensor_set_data(&set.list[i]), t->type, t->bytes / (i64)dtype_bytes(t->type));
    }
    tensor_set_close(&set);
    return STATUS_OK;
}
