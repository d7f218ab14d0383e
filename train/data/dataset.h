/* What a run trains on: one source, or several that are mixed by weight. A source is token files (shard.h) or text.
 *
 * Without weights all paths are one source, and are all token files or all text. Text is shuffled by document; token files are
 * read in the order of the paths, those of a folder in the order of their names. `PATH:WEIGHT` makes each path a source of its
 * own. A folder that holds token files, in subfolders too, is read as token files: its other files are not used.
 *
 * Text of up to DATASET_TEXT_IN_MEMORY bytes (as its files lie on the disk) that is read as bytes is kept in memory. All other
 * text becomes token files first: see text_cache.h. */
#ifndef TALLY_DATASET_H
#define TALLY_DATASET_H

#include "train/data/mix.h"
#include "train/data/source.h"
#include "train/data/tokenizer.h"

enum { DATASET_TEXT_IN_MEMORY = 64 << 20 };

typedef struct {
    text_source from; /* paths, perhaps with weights */
    double val_fraction;
    uint64_t seed;
    const tokenizer *tokenizer; /* NULL: text is bytes, token files may be of any tokenizer */
    int threads;                /* to encode text with */
    bool files;                 /* keep no text in memory, however small */
    const char *folder; /* for token files that are made of text, to be found again; NULL: for this process only */
    bool made;          /* another rank has made these files */
} dataset_options;

typedef struct dataset_parts dataset_parts;

typedef struct {
    source sources[MIX_SOURCES];
    int count;
    i64 tokens, train_tokens, documents, bytes; /* of all sources; documents and bytes are 0 if one does not tell */
    uint32_t crc32;                             /* tells two datasets apart; checkpoints store it */
    i64 vocabulary;                             /* at least this many tokens */
    char fingerprint[SHARD_FINGERPRINT];        /* of the tokenizer of all sources; "": not known */
    dataset_parts *parts;
} dataset;

/* The paths must stay as long as the dataset. DATA: sources of different tokenizers, or of another one than `tokenizer`. */
status dataset_open(dataset *d, const dataset_options *o);
void dataset_close(dataset *d);
void dataset_log(const dataset *d);

void dataset_allow(dataset *d, i64 vocabulary); /* reading a token that is not below it becomes an error */

#endif
