/* The bytes of one text file, one chunk at a time. A file whose name ends in .gz (in any case) is inflated: any number of gzip
 * members, with zero bytes between or after them. A byte-order mark at the start is skipped. */
#ifndef TALLY_TEXT_FILE_H
#define TALLY_TEXT_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <zlib.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

enum { TEXT_FILE_CHUNK = 1 << 18 };

typedef struct {
    const char *path;
    FILE *file;
    bool gz;
    bool member_ended; /* the part of the .gz read so far ends with a whole member */
    z_stream z;
    i64 bytes; /* of text so far, with its byte-order mark */
    /* the chunk; chunk_bytes is 0 at the end of the file */
    const char *chunk;
    size_t chunk_bytes;
    /* offset of the first byte that is not UTF-8, and that byte; -1: none so far */
    i64 not_utf8_at;
    unsigned char not_utf8;
    /* the current UTF-8 sequence: bytes still due, the range of the next, its first byte and the offset of that */
    struct {
        int due;
        unsigned char low, high, first;
        i64 at;
    } sequence;
    char buffer[TEXT_FILE_CHUNK];
    unsigned char compressed[TEXT_FILE_CHUNK];
} text_file;

status text_file_open(text_file *f, const char *path);
status text_file_read(text_file *f);  /* the next chunk */
status text_file_drain(text_file *f); /* reads to the end, to find damage by gzip's checksum */
void text_file_rewind(text_file *f);  /* the next chunk is the first again */
void text_file_close(text_file *f);

/* What the file is by its first chunk, if not UTF-8 text: "UTF-16LE", "a zip archive"; NULL: not known. text_file_wide, the
 * encodings, is certain; text_file_looks_like only explains why a file contains a NUL byte. */
const char *text_file_wide(const text_file *f);
const char *text_file_looks_like(const text_file *f);

bool text_file_named(const text_file *f, const char *ending); /* ".json" matches a.json, a.JSON and a.json.gz */

#endif
