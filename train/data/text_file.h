/* The bytes of one text file, one chunk at a time. A file whose name ends in .gz or .zst (in any case) is decompressed: any
 * number of gzip members, with zero bytes between or after them, or of zstd frames whose window has at most 128 MiB. Of
 * standard input the first bytes decide. A byte-order mark at the start is skipped. */
#ifndef TALLY_TEXT_FILE_H
#define TALLY_TEXT_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <zlib.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

enum { TEXT_FILE_CHUNK = 1 << 18 };

typedef enum { TEXT_FILE_PLAIN, TEXT_FILE_GZIP, TEXT_FILE_ZSTD } text_file_packing;

typedef struct {
    const char *path;
    FILE *file;
    bool is_input; /* standard input */
    text_file_packing packing;
    bool member_ended; /* the compressed part read so far ends with a whole member or frame */
    bool pending;      /* zstd may hold text that had no room */
    z_stream z;
    struct ZSTD_DCtx_s *zstd;
    i64 input_bytes; /* of the file so far, compressed */
    const unsigned char *input;
    size_t input_left;
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
    char buffer[TEXT_FILE_CHUNK]; /* decompressed */
    unsigned char raw[TEXT_FILE_CHUNK];
} text_file;

status text_file_open(text_file *f, const char *path);
status text_file_open_input(text_file *f, const char *name); /* standard input, by this name in messages */
status text_file_read(text_file *f);                         /* the next chunk */
/* The next chunk begins at this byte of the text, which is not before the current chunk. DATA: the file is shorter. */
status text_file_skip_to(text_file *f, i64 bytes);
status text_file_drain(text_file *f); /* reads to the end, to find damage by the checksum of a compressed file */
void text_file_rewind(text_file *f);  /* the next chunk is the first again; not of standard input */
void text_file_close(text_file *f);

/* What the file is by its first chunk, if not UTF-8 text: "UTF-16LE", "a zip archive"; NULL: not known. text_file_wide, the
 * encodings, is certain; text_file_looks_like only explains why a file contains a NUL byte. */
const char *text_file_wide(const text_file *f);
const char *text_file_looks_like(const text_file *f);

bool text_file_named(const text_file *f,
                     const char *ending); /* ".json" matches a.json, a.JSON, a.json.gz and a.json.zst */

#endif
