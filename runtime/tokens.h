/* Token ids of byte-level text. */
#ifndef TALLY_TOKENS_H
#define TALLY_TOKENS_H

enum { TOKEN_END_OF_TEXT = 256, BYTE_VOCABULARY = 257 }; /* 0..255 are bytes */

#endif
