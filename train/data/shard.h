/* Token files. README.md in this folder has the layout of tally's own; llm.c's .bin files of version 1 (GPT-2, 16 bits a token)
 * and 7 (Llama 3, 32 bits) are read and written too. Numbers are little-endian.
 *
 * A document in tally's files is its begin-of-text (if the tokenizer has one), the tokens of its text, its end-of-text. In
 * llm.c's files each document begins with a separator, and a file may begin inside a document. */
#ifndef TALLY_SHARD_H
#define TALLY_SHARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/path.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

#define SHARD_FORMAT_LIST(X) X(SHARD_TALLY, "tally") X(SHARD_LLMC, "llm.c")
typedef enum { SHARD_FORMAT_LIST(CHOICES_VALUE) } shard_format;

enum { SHARD_FINGERPRINT = 64, SHARD_BLOCK = 1 << 20 };

/* the first token of each document in llm.c's files, of 16 and of 32 bits a token */
enum { SHARD_SEPARATOR_GPT2 = 50256, SHARD_SEPARATOR_LLAMA3 = 128000 };

/* What a file says of its tokens. */
typedef struct {
    shard_format format;
    i64 vocabulary;                      /* every token is below it; 0 if unknown (llm.c) */
    int32_t end_of_text;                 /* the last token of each document; -1: none, or not known (llm.c) */
    char fingerprint[SHARD_FINGERPRINT]; /* of the tokenizer; "": not known (llm.c) */
} shard_kind;

/* ---- reading ---- */

/* The file is memory-mapped, and pages that were read are dropped from the map again, so that the resident set does not grow
 * with the file. It must not become shorter while it is open. Threads may read at the same time. */
typedef struct {
    path_text path;
    shard_kind kind;
    i64 count;     /* tokens */
    i64 documents; /* 0: not known (llm.c) */
    i64 bytes;     /* of the text of all documents; 0 if unknown (llm.c) */
    int token_bytes;
    int32_t separator; /* llm.c: the first token of each document; else -1 */
    const unsigned char *map;
    size_t map_bytes, offsets_at, sums_at;
    uint32_t sums_crc;
    atomic_long touched; /* bytes mapped since the pages were last dropped */
} shard;

bool shard_is(const char *path); /* by its first bytes; false if it cannot be read */
/* Reads the header only, and checks it and the file's size. DATA names what is wrong. */
status shard_open(shard *s, const char *path);
void shard_close(shard *s);

/* tokens first .. first + count - 1, which must be in the file, to `out`. Returns the largest of them, so that a caller can
 * refuse a token that its model does not have: the header's vocabulary may lie. */
uint32_t shard_read(shard *s, i64 first, i64 count, int32_t *out);
/* Drops the pages that were read from the map; shard_read does it by itself after 64 MiB. For a reader of many files. */
void shard_drop(shard *s);
/* For each of these tokens: where its document begins, counted from `first`; 0 if it begins before. Without documents in the
 * file (llm.c) they begin at the separators. */
void shard_starts(shard *s, i64 first, i64 count, int32_t *starts);
/* the first token of a document: documents + 1 of them, the last is `count`. Only if the file has documents. */
i64 shard_document(shard *s, i64 document);

/* Reads all of the file: checksums, the order of documents, tokens below the vocabulary. llm.c's files have no checksums. */
status shard_check(shard *s);

/* ---- writing ---- */

typedef struct shard_writer shard_writer;

/* Writes PATH.tmp. A token takes 16 bits if the vocabulary has at most 65536, else 32. */
status shard_writer_open(shard_writer **w, const char *path, const shard_kind *kind);
status shard_writer_add(shard_writer *w, const int32_t *tokens, i64 count); /* to the current document */
/* bytes: of the text of the document. A document without a token is an error. */
status shard_writer_end(shard_writer *w, i64 bytes);
i64 shard_writer_count(const shard_writer *w); /* tokens so far */
i64 shard_writer_documents(const shard_writer *w);
/* Syncs the file and renames it to PATH, which replaces an older one. Frees w, whether it succeeds or fails. */
status shard_writer_close(shard_writer *w);
void shard_writer_abandon(shard_writer *w); /* removes PATH.tmp; w may be NULL */

#endif
