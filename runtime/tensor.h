/* Element types and the letters of every shape in this program.
 *
 *   B batch   T time (sequence length)   N = B*T tokens   C channels   L layers   V vocabulary
 *   H query heads   K key/value heads   D head size   F feed-forward   (q = H*D, k = K*D)
 *
 * A tensor is a plain pointer, row-major, innermost dimension last. The header of a function states the shape and dtype of
 * each tensor it takes. bf16 is the upper half of an f32; rounding is to nearest, ties to even, NaN stays NaN. */
#ifndef TALLY_TENSOR_H
#define TALLY_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime/choices.h"

typedef int64_t i64; /* printed by %ld: the program runs on 64-bit Linux only, where it is a long */
__extension__ typedef unsigned __int128 u128; /* for FLOPs and sums over ranks, which exceed 64 bits */
typedef uint16_t bf16;
#define DTYPE_LIST(X) X(F32, "fp32") X(BF16, "bf16")
typedef enum { DTYPE_LIST(CHOICES_VALUE) F16 /* IEEE 754; in files only (safetensors.h) */ } dtype;

static inline size_t dtype_bytes(dtype t) { return t == F32 ? 4 : 2; }
static inline const char *dtype_name(dtype t) {
    switch (t) {
        DTYPE_LIST(CHOICES_RETURN_NAME)
    case F16: return "fp16";
    }
    return "?";
}

static inline float bf16_to_f32(bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline bf16 bf16_from_f32(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet_nan = (bits >> 16) | 0x40u;
    return (bf16)((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

/* exact: f32 holds every f16, those below its smallest normal number too */
static inline float f16_to_f32(uint16_t x) {
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16, magnitude = x & 0x7fffu;
    bool special = magnitude >= 0x7c00u; /* infinity or NaN: an exponent of all ones */
    uint32_t bits = (magnitude << 13) + (special ? 0x70000000u : 0x38000000u);
    float f = (float)magnitude * 0x1p-24f; /* below 2^-14 */
    if (magnitude >= 0x0400u) memcpy(&f, &bits, 4);
    memcpy(&bits, &f, 4);
    bits |= sign;
    memcpy(&f, &bits, 4);
    return f;
}

/* element `index` of a tensor of dtype t */
static inline void *tensor_at(const void *x, dtype t, i64 index) { return (char *)x + index * (i64)dtype_bytes(t); }

#endif
