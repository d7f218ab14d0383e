/* Text to batches. Byte-level tokens: 0..255 are bytes, 256 is end-of-text, which follows every document; what is empty
 * is no document.
 *
 * What a file is, its name (in any case, before .gz) and its first bytes tell:
 *   .jsonl .ndjson   a document a line: the string under `text_key` of a JSON object
 *   .json            the same, or an array of such objects; anything else in it is no text
 *   .txt .text .md   a document, its bytes as they are
 *   other names      lines of JSON where the first line is an object with that string, else a document as it is
 * A line (or element of an array) without such a string is left out, counted and the first few named; more than
 * max_bad_lines of all files, or a file with no other lines, is an error.
 *
 * Folders are walked recursively, sorted. Hidden entries are passed over. So is, named in the log, what is no text: links
 * to folders, files of another encoding or with a NUL byte, a .json without documents. Named itself, such a file is an
 * error; damage is one everywhere.
 *
 * Documents are put in a seeded order; the last `val_fraction` of the token stream is held out. */
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
    i64 train_count; /* the first so many are for training, the rest are held out */
    i64 documents;
    i64 bytes;      /* of text */
    uint32_t crc32; /* of the token stream in its order: a checkpoint remembers it */
    text_count_of_kind kinds[TEXT_KINDS];
    i64 bad_lines;       /* left out */
    corpus_story *story; /* for corpus_log */
} corpus;

/* The text of a corpus, as the options of the command line name it. */
typedef struct {
    const char *const *paths;
    int count;
    const char *text_key; /* NULL: "text" */
    i64 max_bad_lines;
} text_source;

status corpus_load(corpus *c, const text_source *from, double val_fraction, uint64_t seed);
/* Kind, documents and tokens of each path, and what is odd, in lines of the log. The paths of corpus_load are still there. */
void corpus_log(const corpus *c);
const char *corpus_kind_name(text_kind kind); /* "plain text" */
void corpus_free(corpus *c);

/* Held-out batch i (fixed windows in order, no permutation): what lies past the end has token TOKEN_END_OF_TEXT and
 * target -1. False past the last, and always where fewer than 2 tokens are held out. */
bool corpus_val_batch(const corpus *c, i64 i, i64 B, i64 T, int32_t *tokens, int32_t *targets);

#endif
