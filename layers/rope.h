/* Rotary position embedding (Su et al. 2021), the half-split convention of Llama's Hugging Face weights:
 *
 *   (a, b) = halves of a head;  a' = a cos - b sin,  b' = b cos + a sin,   angle = position * inv_freq[j], j < D/2
 *   inv_freq[j] = theta^(-2j/D);  Llama-3 scaling (factor, low, high, original context) lengthens the long wavelengths:
 *     wavelength w = 2 pi / f;  w < original/high: f;  w > original/low: f/factor;
 *     else s = (original/w - low)/(high - low): (1 - s) f/factor + s f
 *
 *   x [B,T,G,D] of dtype t, in place: row stride ld elements, G heads side by side; cos, sin [positions, D/2] f32
 *   Row (b,t) is at position first + t - starts[b,t]; without starts, at first + t. backward rotates by the negative angle,
 *   with first = 0.
 * Heads of q and of k that lie side by side in a row are rotated by one call. Bytes: x read and written once; the tables,
 * which all heads of a row share, come from cache. */
#ifndef TALLY_ROPE_H
#define TALLY_ROPE_H

#include "runtime/arena.h"

typedef struct {
    double theta;
    double factor; /* 0: no scaling */
    double low_freq_factor, high_freq_factor, original_context;
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
