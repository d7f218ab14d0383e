/* Byte-pair encoding of words.
 *
 * A word begins as one symbol for each byte (in GPT-2's alphabet) or each character. Of all neighbouring pairs that a merge
 * joins, the one with the lowest rank is joined first, the leftmost of equals, until none is left. Linear in practice: short
 * words by searching their few pairs, long ones with a heap; words that come again are taken from a cache. */
#ifndef TALLY_BPE_H
#define TALLY_BPE_H

#include "train/data/token_list.h"
#include "train/data/vocabulary.h"

typedef struct {
    int32_t left, right, id; /* left and right become id. The rank of a merge is its index. */
} bpe_merge;

typedef struct {
    bool byte_level;    /* symbols are bytes; otherwise characters */
    bool byte_fallback; /* a character that is no token becomes the tokens of its bytes, <0x00> to <0xFF> */
    bool fuse_unknown;  /* neighbouring characters that are no token become one `unknown` */
    bool whole_words;   /* a word that is a token is that token, whatever the merges ("ignore_merges") */
    int32_t unknown;    /* for a symbol that is no token; -1: it is dropped */
    const unsigned char
        *outside; /* [v->size] 1: a token that no word has, as it is only added. NULL: none; must stay valid */
} bpe_options;

typedef struct bpe bpe; /* does not change once it is open: threads share it */

/* v must stay valid. DATA: an option that contradicts the vocabulary. */
status bpe_open(bpe **b, const vocabulary *v, const bpe_merge *merges, i64 count, bpe_options o);
void bpe_close(bpe *b);

int32_t bpe_byte(const bpe *b, unsigned char byte); /* the token of a byte that is not UTF-8; -1: none */

/* Whether a text of characters may be cut between `left` and `right`: no merge joins across. (Not for byte_level.) */
bool bpe_may_cut(const bpe *b, int32_t left, int32_t right);

typedef struct bpe_worker bpe_worker; /* the working memory and cache of one thread */
status bpe_worker_open(bpe_worker **w, const bpe *b);
void bpe_worker_close(bpe_worker *w);

enum { BPE_LONGEST = 16 << 20 };
/* Appends the tokens of a word: bytes, or valid UTF-8. DATA: longer than BPE_LONGEST bytes. */
status bpe_word(bpe_worker *w, token_list *out, const char *word, size_t bytes);

#endif
