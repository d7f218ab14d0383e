/* Causal grouped-query attention, flash-style (Dao et al. 2022): tiles, online softmax, no T x T matrix in memory.
 *
 *   o[b,i,h] = sum_j p_ij v[b,j,g(h)],  p_i = softmax_j(scale * q[b,i,h].k[b,j,g(h)]) over j <= i + Tk - Tq
 *   g(h) = h / (H/K)      lse[b,h,i] = log sum_j exp(scale q.k), saved for backward
 *
 *   q, o, dq, do [B,Tq,H,D]   k, v, dk, dv [B,Tk,K,D]   of dtype t, each row (b,i) with its own stride in elements
 *   (ldq, ldk for k and v, ldo for o and do; dq like q, dk and dv like k); lse [B,H,Tq] f32
 * Tk > Tq: the queries are the last Tq positions (generation with a key/value cache; forward only).
 * backward: dq, dk, dv = (training: Tq = Tk). scratch: attention_backward_scratch_bytes.
 * Scores, softmax and sums in f32. Order of sums fixed, whatever the number of threads: bitwise repeatable.
 * On CUDA (orders of sums differ between the paths, never between two runs):
 *   attention_few.cu                 Tk > Tq, at most 8 queries and 65535 of all sequences: keys in pieces, in f32,
 *                                    where the pieces' sums, 4*B*Tq*H*ceil(Tk/256)*(D+2) bytes, fit in 32 MiB
 *   attention_forward.cu, _backward  bf16, D 64, 96 or 128, pointers and strides multiples of 16 bytes, scale > 0:
 *                                    tensor cores; p and ds are rounded to bf16
 *   attention_general.cu             all else, in f32; D > 128 where a block may have 102 KiB of shared memory (134.5
 *                                    in backward): GPUs of compute capability 8.6, 8.9 and 12.0 have 99
 *   attention_cudnn.cu               Tq = Tk after attention_choose(dev, ATTENTION_CUDNN), no other path then: bf16,
 *                                    D a multiple of 8 up to 128, T at least 2, pointers and strides multiples of 16
 *                                    bytes; else an ARG error
 * cuDNN's o and gradients are ours within bf16's rounding, its lse within f32's: equal, not the same bits. It is asked
 * to give its own bits in every run, and nothing is promised here of what it makes of NaN.
 * D <= 256; CUDA takes B and H up to 65535. NaN and inf propagate. A masked pair inside a tile weighs 0 in the sums, so
 * that a NaN in v (in backward also in q and do) can reach rows of its tile that do not depend on it.
 * FLOPs counted, lower triangle only, with S = sum_i (i+1+Tk-Tq) = pairs a head: forward 4*B*H*D*S;
 * backward 10*B*H*D*S, of which 2*B*H*D*S (the scores again) as recompute, the rest as dgrad. */
#ifndef TALLY_ATTENTION_H
#define TALLY_ATTENTION_H

#include "runtime/device.h"

enum { ATTENTION_PADDING = 128 }; /* queries of a head are padded to a multiple in CUDA's scratch */

typedef struct {
    i64 B, Tq, Tk, H, K, D;
    i64 ldq, ldk, ldo;
    float scale; /* 1/sqrt(D) */
} attention_shape;

#define ATTENTION_KIND_LIST(X) X(ATTENTION_OWN, "own") X(ATTENTION_CUDNN, "cudnn")
typedef enum { ATTENTION_KIND_LIST(CHOICES_VALUE) } attention_kind;

/* What CUDA computes Tq = Tk with from here on; our own at first. An ARG error where the device or the build has no
 * cuDNN. Its plan for a shape is made at the first use, and memory for it taken then: attention_memory_bytes, which no
 * planner knows of; for backward on Hopper at least 2*B*H*T*T bytes. */
status attention_choose(device *dev, attention_kind kind);
HALVES(attention_choose);
size_t attention_memory_bytes(const device *dev); /* held by cuDNN's plans; 0 for our own attention */

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
