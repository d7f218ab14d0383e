/* Text as a token file, for training: PATH.tokens (shard.h), in which the documents are shuffled by the seed as corpus.h does, and
 * PATH.json, which tells what it was made of. Memory is bounded: the tokens are written in the order of the text first
 * (PATH.unshuffled), and then gathered. If both files are there, and the text, the tokenizer and the seed are the same, nothing is
 * done. The names, sizes and times of the text's files decide that. */
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
    const char *path;
    status_code (*tick)(void *context); /* called now and then; an error ends the work. NULL: not called */
    void *context;
} text_cache_options;

typedef struct {
    uint32_t crc32;           /* of the tokens, as the file stores them (with 16 or 32 bits) */
    bool found;               /* it was there already */
    document_summary summary; /* if it was not: for documents_log */
} text_cache_result;

status text_cache_make(text_cache_result *r, const text_cache_options *o);
/* What another process has made, whatever of; for ranks other than the first. */
status text_cache_crc32(uint32_t *crc32, const char *path);

#endif
