/* Files of a checkpoint: written in sequence with a crc32 for every 4 MiB block, fsynced at close; and checked against
 * those. A writer that fails half-way leaves a file that no manifest names. */
#ifndef TALLY_BLOCKFILE_H
#define TALLY_BLOCKFILE_H

#include <stdint.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

enum { BLOCKFILE_BLOCK = 4 << 20 };

typedef struct blockfile blockfile;

typedef struct {
    char name[64]; /* within the folder */
    i64 bytes;
    uint32_t *crc; /* one a block; malloc'ed */
    int blocks;
} blockfile_sums;

status blockfile_create(blockfile **f, const char *folder, const char *name); /* replaces an older file of that name */
status blockfile_write(blockfile *f, const void *data, size_t bytes);
status blockfile_close(blockfile *f,
                       blockfile_sums *sums); /* flush, fsync, close; sums filled on success. Frees f always */
void blockfile_abandon(blockfile *f);         /* closes and removes the file; f may be NULL */

/* Size and every block, naming the first bad one. An absent file is DATA, as a damaged one is. */
status blockfile_check(const char *folder, const blockfile_sums *sums);
/* the same of the blocks first, first + stride, ... only */
status blockfile_check_some(const char *folder, const blockfile_sums *sums, int first, int stride);

#endif
