/* Causal grouped-query attention, flash-style (Dao et al. 2022): tiles, online softmax, no T x T matrix in memory.
 *
 *   o[b,i,h] = sum_j p_ij v[b,j,g(h)],  p_i = softmax_j(scale * q[b,i,h].k[b,j,g(h)]) over low(b,i) <= j <= i + Tk - Tq
 *   g(h) = h / (H/K)      lse[b,h,i] = log sum_j exp(scale q.k), saved for backward
 *   low(b,i) = max(starts[b,i], i + Tk - Tq - window + 1): a sliding window, and documents that do not see each other
 *   (tokens.h). 0 without either. Tiles of keys that no query of a block sees are skipped.
 *
 *   q, o, dq, do [B,Tq,H,D]   k, v, dk, dv [B,Tk,K,D]   of dtype t, each row (b,i) with its own stride in elements
 *   (ldq, ldk for k and v, ldo for o and do; dq like q, dk and dv like k); lse [B,H,Tq] f32
 * Tk > Tq: the queries are the last Tq positions (generation with a key/value cache; forward only).
 * backward: dq, dk, dv = (training: Tq = Tk). scratch: attention_backward_scratch_bytes.
 * Scores, softmax and sums in f32. The order of sums does not depend on the number of threads: bitwise repeatable.
 * CUDA has several paths. The order of sums differs between paths, not between runs:
 *   attention_few.cu                 Tk > Tq, at most 8 queries per sequence and 65535 in all: keys in pieces, in f32,
 *                                    if the pieces' sums, 4*B*Tq*H*ceil(Tk/256)*(D+2) bytes, fit in 32 MiB
 *   attention_forward.cu, _backward  bf16, D 64, 96 or 128, pointers and strides multiples of 16 bytes, scale > 0:
 *                                    tensor cores; p and ds are rounded to bf16
 *   attention_general.cu             all other cases, in f32. D > 128 takes 102 KiB of shared memory per block (134.5 in
 *                                    backward); GPUs of compute capability 8.6, 8.9 and 12.0 have only 99
 *   attention_cudnn.cu               Tq = Tk after attention_choose(dev, ATTENTION_CUDNN), and then no other path: bf16,
 *                                    D a multiple of 8 up to 128, T at least 2, pointers and strides multiples of 16
 *                                    bytes, no window, no starts; anything else is an ARG error
 * cuDNN's o and gradients equal ours within the rounding of bf16, its lse within that of f32; the bits differ. It runs in its
 * deterministic mode. What it does with NaN is not specified here.
 * D <= 256; on CUDA B and H are at most 65535. NaN and inf propagate. A masked pair inside a tile has weight 0 in the sums, so
 * that a NaN in v (in backward also in q and do) can reach rows of its tile that do not depend on it.
 * FLOPs counted: of the pairs (b,i,j) that the formula names, P = attention_pairs of a head over all sequences. Forward 4*H*D*P;
 * backward 10*H*D*P: 2*H*D*P (the scores again) as recompute, 8*H*D*P as dgrad. */
#ifndef TALLY_ATTENTION_H
#define TALLY_ATTENTION_H

#include "runtime/device.h"

enum { ATTENTION_PADDING = 128 }; /* CUDA's scratch pads the queries of a head to a multiple of this */

typedef struct {
    i64 B, Tq, Tk, H, K, D;
    i64 ldq, ldk, ldo;
    float scale;           /* 1/sqrt(D) */
    i64 window;            /* the most keys that a query sees, itself included; 0: all */
    const int32_t *starts; /* [B,Tq], on the device; only with Tq = Tk; or NULL. The host checks them: tokens.h. */
    i64 pairs;             /* with starts: attention_pairs of them, on the host; else not read */
} attention_shape;

#define ATTENTION_KIND_LIST(X) X(ATTENTION_OWN, "own") X(ATTENTION_CUDNN, "cudnn")
typedef enum { ATTENTION_KIND_LIST(CHOICES_VALUE) } attention_kind;
const char *attention_kind_name(attention_kind kind); /* as --attention names it */

/* Chooses the kernels for Tq = Tk on CUDA; ATTENTION_OWN when the device opens. ARG if the device or the build has no cuDNN.
 * cuDNN plans a shape at its first use and allocates memory then. attention_memory_bytes counts it, but the memory planner
 * does not; the backward on Hopper takes at least 2*B*H*T*T bytes. */
status attention_choose(device *dev, attention_kind kind);
HALVES(attention_choose);
size_t attention_memory_bytes(const device *dev); /* held by cuDNN; 0 for our own kernels */

/* Pairs of a query and a key that it sees, of one head of B sequences of T tokens. starts: on the host, or NULL. */
u128 attention_pairs(i64 B, i64 T, i64 window, const int32_t *starts);
u128 attention_forward_flops(attention_shape s);
size_t attention_backward_scratch_bytes(const device *dev, attention_shape s);

status attention_forward(device *dev, dtype t, void *o, float *lse, const void *q, const void *k, const void *v,
                         attention_shape s);
HALVES(attention_forward);

/* what the forward pass read and wrote, and the gradients of it */
typedef struct {
    const void *q, *k, *v, *o;
    const float *lse;
} attention_tensors;
typedef struct {
    void *dq, *dk, *dv;
    const void *d_o;
} attention_gradients;

status attention_backward(device *dev, dtype t, const attention_gradients *d, const attention_tensors *x, void *scratch,
                          attention_shape s);
HALVES(attention_backward);

#endif
