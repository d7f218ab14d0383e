/* Rotary position embedding (Su et al. 2021), the half-split convention of Llama's Hugging Face weights:
 *
 *   (a, b) = halves of a head;  a' = a cos - b sin,  b' = b cos + a sin,   angle = position * inv_freq[j], j < D/2
 *   f = inv_freq[j] = theta^(-2j/D), scaled for contexts longer than the original one:
 *     linear   f/factor                        dynamic  f: it differs only beyond the model's context
 *     llama3   wavelength w = 2 pi / f;  w < original/high: f;  w > original/low: f/factor;
 *              else s = (original/w - low)/(high - low): (1 - s) f/factor + s f
 *     yarn     (Peng et al. 2023) r = clamp((j - a)/(b - a), 0, 1): r f/factor + (1 - r) f, where pair a turns beta_fast times
 *              within the original context and pair b beta_slow times; truncate: a and b are rounded to integers, away from
 *              each other. cos and sin are multiplied by attention_factor
 *
 *   x [B,T,G,D] of dtype t, in place: row stride ld elements, G heads side by side; cos, sin [positions, D/2] f32
 *   Row (b,t) is at position first + t - starts[b,t]; without starts, at first + t. backward rotates by the negative angle,
 *   with first = 0 (and yarn multiplies as in forward).
 * Heads of q and of k that lie side by side in a row are rotated by one call. Bytes: x read and written once; the tables,
 * which all heads of a row share, come from cache. */
#ifndef TALLY_ROPE_H
#define TALLY_ROPE_H

#include "runtime/arena.h"

/* the names are Hugging Face's "rope_type" */
#define ROPE_TYPE_LIST(X)                                                                                              \
    X(ROPE_DEFAULT, "default")                                                                                         \
    X(ROPE_LINEAR, "linear") X(ROPE_DYNAMIC, "dynamic") X(ROPE_YARN, "yarn") X(ROPE_LLAMA3, "llama3")
typedef enum { ROPE_TYPE_LIST(CHOICES_VALUE) } rope_type;

typedef struct {
    double theta;
    rope_type type;
    double factor;                                 /* all but default */
    double original_context;                       /* llama3, yarn */
    double low_freq_factor, high_freq_factor;      /* llama3 */
    double beta_fast, beta_slow, attention_factor; /* yarn */
    bool truncate;                                 /* yarn */
} rope_scaling;

typedef struct {
    float *cos, *sin; /* [positions, D/2], in the device's memory */
    i64 positions, D;
} rope;

typedef struct {
    i64 B, T, G, ld;
    const int32_t *starts; /* [B,T] on the device (tokens.h), or NULL */
} rope_shape;

void rope_table(float *cos_table, float *sin_table, i64 positions, i64 D, rope_scaling s); /* host; in float64 */

/* Takes the tables from the arena, in both of its passes; rope_fill then computes them and copies them to the device. */
void rope_layout(rope *r, arena *a, i64 positions, i64 D);
status rope_fill(const rope *r, device *dev, rope_scaling s);

status rope_forward(device *dev, dtype t, void *x, const rope *r, rope_shape s, i64 first);
HALVES(rope_forward);
status rope_backward(device *dev, dtype t, void *dx, const rope *r, rope_shape s);
HALVES(rope_backward);

#endif
