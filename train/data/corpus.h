/* Loads text as tokens. Tokens are bytes: 0..255 are the bytes, 256 is end-of-text, which follows every document. documents.h
 * tells what a document is.
 *
 * Documents are shuffled by the seed; the last `val_fraction` of the token stream is held out. */
#ifndef TALLY_CORPUS_H
#define TALLY_CORPUS_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"
#include "runtime/tokens.h"
#include "train/data/documents.h"

typedef struct {
    uint16_t *tokens;
    i64 count;       /* of all tokens */
    i64 train_count; /* the first train_count are for training, the rest are held out */
    i64 documents;
    i64 bytes;             /* of text */
    uint32_t crc32;        /* of the shuffled token stream; checkpoints store it */
    document_summary text; /* for documents_log: the paths of corpus_load must still be valid then */
} corpus;

status corpus_load(corpus *c, const text_source *from, double val_fraction, uint64_t seed);
void corpus_free(corpus *c);

#endif
