/* `tally plan --from RUN`: what a run measured (train/bill/calibration.h) in place of what a datasheet says.
 *
 * A step of the same model, batch, sequence, recompute, precision, ranks and stage takes as long as the run's median step. For
 * another step a run on a CPU gives the speed of each kind of work, and the step takes the sum over kinds of
 *
 *   GEMM         for each shape (from a dry run of the step) the bytes that it moves / the bandwidth of memory, and FLOPs x seconds
 *                per FLOP of what then remains of the run's GEMMs with the same transposed operands, weighted by 1/d^2; d: distance
 *                in (ln M, ln N, ln K). A shape that the run had takes what it took. Bytes, of what no cache holds: a weight is
 *                read, and once a step packed (a read and a write); its gradient is read and written in f32; logits are written in
 *                f32, each line read first, and their gradient is read. The bandwidth is that of the run's optimizer, whose bytes
 *                are known
 *   attention    forward and backward apart: (pairs of query and key + 76 per query) x heads x head size. A query costs as much
 *                as 76 keys more, for the tiles of keys and for the diagonal, of which half is wasted: fitted to 64 to 512 tokens
 *   loss         logits        optimizer   parameters of the rank
 *   rest         elements that norms, activations and copies read and write: N (L (4C + 2q + 2k + nF) + C), n = 3 for
 *                SwiGLU, else 2; 4/3 of that in a recomputed block
 *   data wait    tokens        exposed communication   parameters, for the same number of ranks
 * With another number of ranks, communication is simulated and the rest is one rate of all FLOPs. A run on a GPU measures no
 * kinds: then all work goes at the rate of FLOPs that it executed per second of its step and rank. */
#ifndef TALLY_PLAN_FROM_H
#define TALLY_PLAN_FROM_H

#include "tools/plan.h"

/* Sets the speed of r: r->tokens_per_s, or r->m.flops where communication is simulated, and r->speed. The bandwidth of memory is
 * then INFINITY, since that rate covers all computation. Nothing where r->from is NULL. ARG: the run had another precision. */
status plan_from_speed(plan_request *r);

#endif
