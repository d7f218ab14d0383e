/* Threads that encode documents. The caller gives text as it reads it, and receives the ids in the same order, whatever the
 * number of threads. Memory is bounded: a thread has a few pieces of text of 256 KiB and their ids. */
#ifndef TALLY_ENCODE_POOL_H
#define TALLY_ENCODE_POOL_H

#include "train/data/documents.h"
#include "train/data/tokenizer.h"

/* Receives the ids, in the thread that calls encode_pool_*. An error of either function is returned there. */
typedef struct {
    void *context;
    status_code (*ids)(void *context, const int32_t *ids, i64 count);  /* of the current document: the next piece */
    status_code (*end)(void *context, i64 bytes, document_place next); /* bytes: of its text */
} encode_pool_sink;

typedef struct {
    const tokenizer *t;
    int threads;
    int32_t before, after; /* ids around each document; -1: none */
    i64 documents;         /* that are before the first, for messages: "document 5: ..." */
} encode_pool_options;

typedef struct encode_pool encode_pool;

status encode_pool_open(encode_pool **p, const encode_pool_options *o, encode_pool_sink to);
status encode_pool_text(encode_pool *p, const char *text, size_t bytes); /* the next piece of the document */
status encode_pool_end(encode_pool *p, document_place next);             /* of the document */
status encode_pool_finish(encode_pool *p); /* after the last document: waits for all ids */
void encode_pool_close(encode_pool *p);    /* p may be NULL; what was not given to the sink is lost */

#endif
