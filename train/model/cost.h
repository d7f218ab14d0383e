/* The FLOPs of a model in closed form. The counters in device->flops must equal them as integers.
 *
 * Per token, forward, matmul weights only, per layer: 2(2Cq + 2Ck + nCF), q = H*D, k = K*D, n = 3 SwiGLU, 2 GELU;
 * attention 2q(T+1) (causal mean; in layers with a window, and of documents, 4q pairs / T: attention_pairs); logits 2CV; lookups
 * 0. Training is 3 times forward. For a sequence of T tokens each term is an integer. PaLM's count (Chowdhery et al. 2022, appendix B): 6P + 12 L q T a token, P all parameters. */
#ifndef TALLY_COST_H
#define TALLY_COST_H

#include "runtime/arena.h"
#include "runtime/tokens.h"
#include "train/model/model_config.h"
#include "train/model/recompute.h"

/* FLOPs of one training step over `sequences` sequences of T tokens, by kind of work, as the counters book them. Selective
 * recompute repeats no GEMM. A recomputed block repeats all but its last GEMM (down): only the next block reads its result.
 * 128 bits hold 3.4e38: more than any model that model_config_check accepts takes for 2^63 tokens. */
flop_counter cost_training_flops(const model_config *c, recompute_policy r, i64 sequences, i64 T);
flop_counter cost_batch_flops(const model_config *c, recompute_policy r,
                              token_batch b);                   /* of b's documents; on the host */
double cost_flops_per_token(const model_config *c, i64 T);      /* training: model FLOPs, exact-causal */
double cost_flops_per_token_palm(const model_config *c, i64 T); /* 6P + 12 L q T */

#endif
