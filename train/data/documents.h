/* Reads the documents of text files as a stream: in memory there is a chunk of plain text or a line of JSON.
 *
 * The name of a file (in any case, before .gz) and its first bytes decide how it is read:
 *   .jsonl .ndjson   one document a line: the string under `text_key` of a JSON object
 *   .json            the same, or an array of such objects; other contents are not text
 *   .txt .text .md   one document
 *   other names      as .jsonl if the first line is an object with that string, else one document
 * A line or an array element without such a string is skipped and counted, and the first few are named in the log. More than
 * max_bad_lines of them in all files, or a file that has no other lines, is an error. An empty document is dropped.
 *
 * Folders are read recursively, in sorted order. Hidden entries are skipped. Entries that are not text (links to folders,
 * files in another encoding or with a NUL byte, a .json without documents) are skipped with a line in the log; a file that
 * the user named must be text. A damaged file is always an error. */
#ifndef TALLY_DOCUMENTS_H
#define TALLY_DOCUMENTS_H

#include <stddef.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

typedef enum { TEXT_PLAIN, TEXT_JSON_LINES, TEXT_JSON_ARRAY, TEXT_KINDS } text_kind;

typedef struct {
    i64 files, documents, bytes, tokens;
} text_count_of_kind;

/* What to read, as the options of the command line give it. */
typedef struct {
    const char *const *paths;
    int count;
    const char *text_key; /* NULL: "text" */
    i64 max_bad_lines;
} text_source;

/* Receives the documents. An error of either function ends the reading and is returned. */
typedef struct {
    void *context;
    status_code (*text)(void *context, const char *text, size_t bytes); /* the next piece of the document; not empty */
    status_code (*end)(void *context);                                  /* of the document */
    const i64 *tokens; /* how many tokens the text so far has become, for the log; NULL: the log gives bytes */
} document_sink;

typedef struct documents_story documents_story;

typedef struct {
    i64 count, bytes; /* of documents; of their text */
    text_count_of_kind kinds[TEXT_KINDS];
    i64 bad_lines;    /* skipped */
    const char *path; /* of the file that is being read, for messages of the sink */
    documents_story *story;
} document_summary;

status documents_read(document_summary *d, const text_source *from,
                      document_sink to); /* d: unchanged until documents_free */
/* Logs the kind, documents and tokens or bytes of each path, and every warning. The paths must still be valid. */
void documents_log(const document_summary *d);
const char *documents_kind_name(text_kind kind); /* "plain text" */
void documents_free(document_summary *d);

#endif
