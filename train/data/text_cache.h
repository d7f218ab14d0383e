/* Text as a folder of token files, for training: tokenize.h makes them, and then the documents are shuffled by the seed, as corpus.h
 * does. Memory is bounded, but for the places of 4 million documents. text.json in the folder tells what the files were made of:
 * if the text, the tokenizer and the seed are still the same, nothing is done. The names, sizes and times of the text's files
 * decide that. A process that is killed is continued by the next one. */
#ifndef TALLY_TEXT_CACHE_H
#define TALLY_TEXT_CACHE_H

#include <stdbool.h>

#include "train/data/documents.h"
#include "train/data/tokenizer.h"

typedef struct {
    text_source from;
    i64 text_bytes; /* of the files of the text, and a checksum of their names, sizes and times */
    uint32_t text_crc;
    const tokenizer *tokenizer;
    uint64_t seed;
    int threads;
    const char *folder;
} text_cache_options;

/* crc32: of the tokens, as the files store them (with 16 or 32 bits). found: they were there already. */
status text_cache_make(uint32_t *crc32, bool *found, const text_cache_options *o);
/* of a folder that another process has made */
status text_cache_crc32(uint32_t *crc32, const char *folder);

#endif
