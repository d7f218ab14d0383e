/* The bytes of one text file, a chunk at a time. Gzip, told by the name (.gz in any case), is inflated: any number of
 * members, with zero bytes between or behind them. A byte-order mark at the start is left out. */
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
    bool member_ended; /* what has been read of a .gz ends with a whole member */
    z_stream z;
    i64 bytes; /* of text so far, its byte-order mark included */
    /* the chunk; chunk_bytes is 0 at the end of the file */
    const char *chunk;
    size_t chunk_bytes;
    /* where the first byte is that is not part of UTF-8, and that byte; -1: none so far */
    i64 not_utf8_at;
    unsigned char not_utf8;
    /* the UTF-8 sequence under way: bytes still due, the range of the next, its first byte and where that is */
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
status text_file_drain(text_file *f); /* reads to the end: finds damage that gzip's checksum tells */
void text_file_close(text_file *f);

/* What the first chunk shows the file to be, where that is not UTF-8 text: "UTF-16LE", "a zip archive"; NULL: nothing
 * known. The encodings (text_file_wide) are certain; the others only explain why a file holds a NUL byte. */
const char *text_file_wide(const text_file *f);
const char *text_file_looks_like(const text_file *f);

bool text_file_named(const text_file *f, const char *ending); /* in any case, and before .gz: ".json" */

#endif
