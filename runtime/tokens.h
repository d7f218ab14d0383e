/* Token ids of byte-level text, and batches of tokens. */
#ifndef TALLY_TOKENS_H
#define TALLY_TOKENS_H

#include "runtime/tensor.h"

enum { TOKEN_END_OF_TEXT = 256, BYTE_VOCABULARY = 257 }; /* 0..255 are bytes */

/* B sequences of T tokens. targets[n] is the token to predict after tokens[n]; -1: that position is not counted.
 * starts[b,t]: the first position in its row of the document that token t belongs to. Attention of t sees no key before it,
 * and positions (RoPE, learned) are counted from it. Along a row, starts[b,0] = 0, and starts[b,t] is starts[b,t-1] or t.
 * NULL: every row is one document. */
typedef struct {
    const int32_t *tokens, *targets; /* [B,T] */
    i64 B, T;
    const int32_t *starts; /* [B,T] or NULL */
} token_batch;

#endif
