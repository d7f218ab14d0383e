/* Rotary position embedding (Su et al. 2021), the half-split convention of Llama's Hugging Face weights:
 *
 *   (a, b) = halves of a head;  a' = a cos - b sin,  b' = b cos + a sin,   angle = position * inv_freq[j], j < D/2
 *   inv_freq[j] = theta^(-2j/D);  Llama-3 scaling (factor, low, high, original context) stretches the long wavelengths:
 *     wavelength w = 2 pi / f;  w < original/high: f;  w > original/low: f/factor;
 *     else s = (original/w - low)/(high - low): (1 - s) f/factor + s f
 *
 *   x [B,T,G,D] of dtype t in place: row stride ld elements, G heads side by side; cos, sin [positions, D/2] f32
 *   row (b,t) is at position first + t. backward is the rotation by the negative angle.
 * Heads of q and of k that lie side by side in a row turn in one call. Bytes: x read and written once; the tables, which a
 * row's heads share, come from cache. */
#ifndef TALLY_ROPE_H
#define TALLY_ROPE_H

#include "runtime/device.h"

typedef struct {
    double theta;
    double factor; /* 0: no scaling */
    double low_freq_factor, high_freq_factor, original_context;
} rope_scaling;

void rope_table(float *cos_table, float *sin_table, i64 positions, i64 D, rope_scaling s); /* host; in float64 */
status rope_forward(device *dev, dtype t, void *x, i64 ld, const float *cos_table, const float *sin_table, i64 B, i64 T,
                    i64 G, i64 D, i64 first);
status rope_backward(device *dev, dtype t, void *dx, i64 ld, const float *cos_table, const float *sin_table, i64 B,
                     i64 T, i64 G, i64 D);

#endif
