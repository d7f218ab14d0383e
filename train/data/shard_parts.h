/* The layout of token files, for shard.c (reading) and shard_write.c. */
#ifndef TALLY_SHARD_PARTS_H
#define TALLY_SHARD_PARTS_H

#include "train/data/shard.h"

enum { SHARD_HEADER = 1024, SHARD_VERSION = 1 };
#define SHARD_MAGIC "\x93TALLY\x1a\n"

/* README.md describes each member */
typedef struct {
    char magic[8];
    uint32_t version, token_bytes;
    uint64_t tokens, documents, vocabulary, text_bytes;
    int32_t end_of_text;
    uint32_t block_bytes, sums_crc, unused;
    char fingerprint[SHARD_FINGERPRINT];
    char zeros[SHARD_HEADER - 64 - SHARD_FINGERPRINT - 4];
    uint32_t header_crc; /* of the bytes before it */
} shard_header;
_Static_assert(sizeof(shard_header) == SHARD_HEADER, "the header has no gaps");

/* llm.c's header is 256 of these */
enum { SHARD_LLMC_MAGIC, SHARD_LLMC_VERSION, SHARD_LLMC_TOKENS, SHARD_LLMC_HEADER = SHARD_HEADER / 4 };
enum { SHARD_LLMC_GPT2 = 20240520, SHARD_LLMC_LLAMA3 = 20240801 };

#endif
