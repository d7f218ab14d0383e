/* One source of training data: a sequence of tokens, in memory or in token files, of which one follows the other. The first
 * train_count tokens are for training, the rest is held out. */
#ifndef TALLY_SOURCE_H
#define TALLY_SOURCE_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"
#include "train/data/corpus.h"
#include "train/data/shard.h"

typedef struct {
    const char *name; /* for messages and the log */
    double weight;    /* share in a mix, relative to those of the other sources */
    i64 count, train_count;
    i64 documents, bytes;                /* of the text; 0: unknown */
    uint32_t crc32;                      /* tells two sources apart */
    bool byte_text;                      /* text as bytes: see loader.h */
    i64 vocabulary;                      /* at least this many tokens; 0: unknown */
    char fingerprint[SHARD_FINGERPRINT]; /* of the tokenizer; "": not known */
    int32_t end_of_text;                 /* the token that ends a document, or before which it begins; -1: not known */
    i64 most;                            /* reading a token that is not below it is an error; 0: any token is right */
    const uint16_t *text;                /* the tokens in memory; NULL: they are in files */
    shard *files;
    i64 *firsts; /* [file_count + 1]: the number of each file's first token */
    int file_count;
    i64 reads; /* of files; now and then the pages of all files are dropped */
} source;

/* The corpus must stay as long as the source. */
source source_of_corpus(const corpus *c, const char *name);

/* Opens token files, in this order. They must be of the same tokenizer. A file's crc32 is that of its checksums; llm.c's files
 * have none, and both ends of each are used. */
status source_open(source *s, const char *name, char *const *paths, int count);
void source_close(source *s);

/* The first (1 - fraction) of the tokens are for training. DATA if these are fewer than 2. */
status source_hold_out(source *s, double fraction);

/* Copies tokens first .. first + count - 1. DATA: a token is not below `most`. Threads may read at the same
 * time. */
status source_read(source *s, i64 first, i64 count, int32_t *out);

/* For each of these tokens: where its document begins, counted from `first`; 0 if it begins before. */
void source_starts(source *s, i64 first, i64 count, int32_t *starts);

/* Windows of T + 1 tokens at stride T of the part to train on. */
i64 source_windows(const source *s, i64 T);

/* Held-out batch i: fixed windows in order, not shuffled. Positions past the end get an end-of-text and target -1. There is no
 * batch if fewer than 2 tokens are held out. starts: may be NULL; see token_batch. */
i64 source_held_out_batches(const source *s, i64 B, i64 T);
typedef struct {
    i64 B, T;
    int32_t *tokens, *targets, *starts;
} source_batch;
status source_held_out(source *s, i64 i, source_batch b);

#endif
