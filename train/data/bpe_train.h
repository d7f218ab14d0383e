/* Learns byte-pair merges from counted words: again and again, the pair of neighbouring tokens that occurs most often becomes a
 * token of its own. The result is that of BpeTrainer of the library `tokenizers`, merge for merge:
 *   - of pairs that occur equally often, that of the smaller first id comes first, then that of the smaller second id;
 *   - a pair that makes the name of a token that exists already becomes a merge but no new token;
 *   - a pair that is merged, and occurs again because another merge makes one of its tokens, is merged again, and takes the
 *     later place in the list.
 *
 * A token's name is its bytes in the alphabet of byte_level.h. */
#ifndef TALLY_BPE_TRAIN_H
#define TALLY_BPE_TRAIN_H

#include "train/data/vocabulary.h"
#include "train/data/word_counts.h"

typedef struct {
    int32_t left, right;
} learned_merge;

typedef struct {
    vocabulary tokens;     /* those given, then the 256 bytes by code point, then the new names of merges */
    learned_merge *merges; /* in the order in which they apply; their token is named left's name, right's name */
    i64 merge_count;
    i64 least; /* how often the last merge occurs */
} bpe_tokens;  /* initialise with zeros, or with some tokens */

/* Stops at `size` tokens, or where no pair occurs `least` times. For 100 MB of text in 20 languages, which have 840 thousand
 * different words, the program needs 360 MB. */
status bpe_train(bpe_tokens *t, const word_counts *w, i64 size, i64 least);
void bpe_train_free(bpe_tokens *t);

#endif
