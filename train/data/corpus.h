/* Loads text as tokens. Tokens are bytes: 0..255 are the bytes, 256 is end-of-text, which follows every document. An empty
 * document is dropped.
 *
 * The name of a file (in any case, before .gz) and its first bytes decide how it is read:
 *   .jsonl .ndjson   one document a line: the string under `text_key` of a JSON object
 *   .json            the same, or an array of such objects; other contents are not text
 *   .txt .text .md   one document
 *   other names      as .jsonl if the first line is an object with that string, else one document
 * A line or an array element without such a string is skipped and counted, and the first few are named in the log. More than
 * max_bad_lines of them in all files, or a file that has no other lines, is an error.
 *
 * Folders are read recursively, in sorted order. Hidden entries are skipped. Entries that are not text (links to folders,
 * files in another encoding or with a NUL byte, a .json without documents) are skipped with a line in the log; a file that
 * the user named must be text. A damaged file is always an error.
 *
 * Documents are shuffled by the seed; the last `val_fraction` of the token stream is held out. */
#ifndef TALLY_CORPUS_H
#define TALLY_CORPUS_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"
#include "runtime/tokens.h"

typedef enum { TEXT_PLAIN, TEXT_JSON_LINES, TEXT_JSON_ARRAY, TEXT_KINDS } text_kind;

typedef struct {
    i64 files, documents, tokens;
} text_count_of_kind;

typedef struct corpus_story corpus_story;

typedef struct {
    uint16_t *tokens;
    i64 count;       /* of all tokens */
    i64 train_count; /* the first train_count are for training, the rest are held out */
    i64 documents;
    i64 bytes;      /* of text */
    uint32_t crc32; /* of the shuffled token stream; checkpoints store it */
    text_count_of_kind kinds[TEXT_KINDS];
    i64 bad_lines;       /* skipped */
    corpus_story *story; /* for corpus_log */
} corpus;

/* The text of a corpus, as the options of the command line give it. */
typedef struct {
    const char *const *paths;
    int count;
    const char *text_key; /* NULL: "text" */
    i64 max_bad_lines;
} text_source;

status corpus_load(corpus *c, const text_source *from, double val_fraction, uint64_t seed);
/* Logs the kind, documents and tokens of each path, and every warning. The paths of corpus_load must still be valid. */
void corpus_log(const corpus *c);
const char *corpus_kind_name(text_kind kind); /* "plain text" */
void corpus_free(corpus *c);

/* Held-out batch i: fixed windows in order, not shuffled. Positions past the end get token TOKEN_END_OF_TEXT and target -1.
 * False after the last batch, and always if fewer than 2 tokens are held out. */
bool corpus_val_batch(const corpus *c, i64 i, i64 B, i64 T, int32_t *tokens, int32_t *targets);

#endif
