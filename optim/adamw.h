/* AdamW (Loshchilov & Hutter 2019) on one contiguous piece of a flat shard:
 *
 *   g' = g * grad_scale
 *   m = b1 m + (1-b1) g'     v = b2 v + (1-b2) g'^2
 *   w = w - lr * ( (m * m_correction) / (sqrt(v * v_correction) + eps) + decay * w )
 * grad_scale and the corrections are the verdict's (verdict.h), which is in the device's memory. If the verdict is "skipped",
 * nothing changes.
 *
 *   weights [n] of dtype t; master [n] f32, or NULL: weights are the only copy and, where bf16, rounded stochastically
 *   m, v [n] f32, or bf16 rounded stochastically (nearest would stall: one step moves v by less than half an ulp)
 *   grads [n] f32
 * With a master: the master is updated, and weights = the master rounded to nearest (fp32: pass master NULL, t F32).
 * Stochastic rounding goes down or up with probability proportional to the distance: E[rounded] = value. Element i,
 * with j = i + first, takes 16-bit lane j % 8 (low half of a word first) of Philox(seed, j / 8, stream), where stream =
 * updates << 16 | which << 8 | RNG_ROUND, which = 0 weight, 1 m, 2 v: the same bits on any shard, different
 * bits for each of the three.
 * Bytes an element: 4 g + 8+8 m,v + 8 master + 2 weights = 30 (bf16), 28 (fp32). Elements are independent: repeatable.
 * CUDA uses the CPU's random numbers. They are cheaper if `first` is a multiple of 8 and the pointers are aligned to 16 bytes,
 * because eight elements then share one Philox block. */
#ifndef TALLY_ADAMW_H
#define TALLY_ADAMW_H

#include "optim/verdict.h"

typedef struct {
    float lr, beta1, beta2, eps, decay;
    uint64_t seed;
    uint64_t first; /* global index of element 0 */
} adamw_args;

/* the tensors of one update */
typedef struct {
    i64 n;
    dtype t; /* of weights */
    void *weights;
    float *master;
    dtype moments; /* of m and v */
    void *m, *v;
    const float *grads;
} adamw_piece;

status adamw_step(device *dev, const adamw_piece *p, adamw_args a, const step_verdict *verdict);
HALVES(adamw_step);

#endif
