/* One source of training data: a sequence of tokens, in memory or in token files. The first train_count tokens are for training,
 * the rest is held out. */
#ifndef TALLY_SOURCE_H
#define TALLY_SOURCE_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"
#include "train/data/corpus.h"

typedef struct {
    const char *name; /* for messages and the log */
    double weight;    /* share in a mix, relative to those of the other sources */
    i64 count, train_count;
    uint32_t crc32;       /* tells two sources apart */
    bool byte_text;       /* text as bytes: see loader.h */
    int32_t end_of_text;  /* the token that ends a document; -1: not known */
    i64 most;             /* reading a token that is not below it is an error; 0: any token is right */
    const uint16_t *text; /* the tokens in memory */
} source;

/* The corpus must stay as long as the source. */
source source_of_corpus(const corpus *c, const char *name);

/* Copies tokens first .. first + count - 1. DATA: a token is not below `most`. */
status source_read(const source *s, i64 first, i64 count, int32_t *out);

/* Windows of T + 1 tokens at stride T of the part to train on. */
i64 source_windows(const source *s, i64 T);

/* Held-out batch i: fixed windows in order, not shuffled. Positions past the end get an end-of-text and target -1. There is no
 * batch if fewer than 2 tokens are held out. */
i64 source_held_out_batches(const source *s, i64 B, i64 T);
status source_held_out(const source *s, i64 i, i64 B, i64 T, int32_t *tokens, int32_t *targets);

#endif
