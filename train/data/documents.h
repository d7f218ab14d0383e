/* Reads the documents of text files as a stream: in memory there is a chunk of plain text or a line of JSON.
 *
 * The name of a file (in any case, before .gz or .zst) and its first bytes decide how it is read:
 *   .jsonl .ndjson   one document a line: the string under `text_key` of a JSON object
 *   .json            the same, or an array of such objects; other contents are not text
 *   .txt .text .md   one document
 *   other names      as .jsonl if the first line is an object with that string, else one document (a first line of more
 *                    than 256 KiB: if it begins with { and that key is in its first 256 KiB)
 * A line or an array element without such a string is skipped and counted, and the first few are named in the log. More than
 * max_bad_lines of them in all files, or a file that has no other lines, is an error. An empty document is dropped.
 *
 * Folders are read recursively, in sorted order. Hidden entries are skipped. Entries that are not text (links to folders,
 * files in another encoding or with a NUL byte, a .json without documents) are skipped with a line in the log; a file that
 * the user named must be text. A damaged file is always an error. */
#ifndef TALLY_DOCUMENTS_H
#define TALLY_DOCUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    const char *template; /* NULL: the text alone. Else makes it from the strings under several keys: json_template.h */
    i64 max_bad_lines;
    bool input; /* the path "-" is standard input */
} text_source;

/* A place between documents, from which another documents_read of the same source can go on. */
typedef struct {
    i64 file;           /* number of files before it, in the order of reading, with those that are skipped */
    i64 bytes;          /* of the file's text before it, decompressed */
    i64 number;         /* of the line or element that comes next, from 1; 0: the array has ended */
    i64 bad_lines;      /* before it, in all files */
    uint32_t input_crc; /* of the text before it, if the file is standard input */
} document_place;

/* Receives the documents. An error of either function ends the reading and is returned. */
typedef struct {
    void *context;
    status_code (*text)(void *context, const char *text, size_t bytes); /* the next piece of the document; not empty */
    status_code (*end)(void *context);                                  /* of the document */
    const i64 *tokens; /* how many tokens the text so far has become, for the log; NULL: the log gives bytes */
} document_sink;

typedef struct documents_story documents_story;

typedef struct {
    i64 count, bytes;    /* of documents; of their text */
    document_place next; /* while the sink's `end` runs: where the next document begins */
    i64 input_bytes;     /* of the files so far, as they are on the disk */
    text_count_of_kind kinds[TEXT_KINDS];
    i64 bad_lines;    /* skipped */
    const char *path; /* of the file that is being read, for messages of the sink */
    documents_story *story;
} document_summary;

status documents_read(document_summary *d, const text_source *from,
                      document_sink to); /* d: unchanged until documents_free */
/* The same from a place on. There may be no document left. The log does not know what was before. */
status documents_read_from(document_summary *d, const text_source *from, document_place at, document_sink to);

/* What documents_read would read, by the names, sizes and times of the files. */
typedef struct {
    i64 files, bytes; /* on the disk; standard input is a file of 0 bytes */
    uint32_t crc32;   /* of all of that */
} document_files;
status documents_scan(document_files *f, const text_source *from);
/* Logs the kind, documents and tokens or bytes of each path, and every warning. The paths must still be valid. */
void documents_log(const document_summary *d);
const char *documents_kind_name(text_kind kind); /* "plain text" */
void documents_free(document_summary *d);

#endif
