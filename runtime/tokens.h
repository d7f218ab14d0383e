/* Token ids of byte-level text, and batches of tokens. */
#ifndef TALLY_TOKENS_H
#define TALLY_TOKENS_H

#include "runtime/tensor.h"

enum { TOKEN_END_OF_TEXT = 256, BYTE_VOCABULARY = 257 }; /* 0..255 are bytes */

/* B sequences of T tokens. targets[n] is the token to predict after tokens[n]; -1: that position is not counted. */
typedef struct {
    const int32_t *tokens, *targets; /* [B,T] */
    i64 B, T;
} token_batch;

#endif
