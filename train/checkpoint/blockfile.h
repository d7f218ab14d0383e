/* Files of a checkpoint: written sequentially with a crc32 per block of 4 MiB, fsynced at close, and checked against those sums.
 * A write that fails leaves a file that no manifest names. */
#ifndef TALLY_BLOCKFILE_H
#define TALLY_BLOCKFILE_H

#include <stdint.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

enum { BLOCKFILE_BLOCK = 4 << 20 };

typedef struct blockfile blockfile;

typedef struct {
    char name[64]; /* in the folder */
    i64 bytes;
    uint32_t *crc; /* one per block; malloc'ed */
    int blocks;
} blockfile_sums;

status blockfile_create(blockfile **f, const char *folder, const char *name); /* replaces an older file of that name */
status blockfile_write(blockfile *f, const void *data, size_t bytes);
/* Flushes, fsyncs and closes the file; fills *sums on success. Always frees f. */
status blockfile_close(blockfile *f, blockfile_sums *sums);
void blockfile_abandon(blockfile *f); /* closes and removes the file; f may be NULL */

/* Checks the size and every block. DATA if the file is absent or damaged; the message names the first bad block. */
status blockfile_check(const char *folder, const blockfile_sums *sums);
/* The same, but only checks the blocks first, first + stride, ... */
status blockfile_check_some(const char *folder, const blockfile_sums *sums, int first, int stride);

#endif
