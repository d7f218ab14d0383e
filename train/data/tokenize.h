/* Text to a folder of token files, shard-000000.tok and so on (of llm.c's format: .bin), with tokenize.json, which says what they
 * were made from and how far the work is.
 *
 * A token file ends with the first document that brings it to shard_tokens, so the files do not depend on the number of
 * threads. A file and then tokenize.json appear at once, when they are whole. If the work is interrupted, even by SIGKILL, the
 * same call goes on behind the last whole file, and in the end the folder has the same bytes. Standard input must then give
 * the same text again. */
#ifndef TALLY_TOKENIZE_H
#define TALLY_TOKENIZE_H

#include "train/data/documents.h"
#include "train/data/shard.h"
#include "train/data/tokenizer.h"

typedef struct {
    text_source from;
    const tokenizer *t;
    const char *tokenizer_path; /* as given; NULL: bytes */
    const char *folder;         /* it is made; it must be empty or hold a tokenize.json */
    shard_format format;
    i64 shard_tokens;
    int threads;
} tokenize_options;

typedef struct {
    i64 shards, documents, bytes, tokens, bad_lines; /* all, with those of earlier calls */
    bool was_complete;                               /* there was nothing left to do */
    i64 own_bytes, own_tokens;                       /* of this call */
    double seconds;                                  /* of this call */
} tokenize_result;

/* Logs the progress, and in the end documents_log. DATA if the folder was begun with other options, files or another
 * tokenizer, or another process is writing to it. */
status tokenize_run(tokenize_result *r, const tokenize_options *o);

#endif
