/* Files of a checkpoint: written in sequence with a crc32 for every 4 MiB block, fsynced at close; and checked against those.
 * A writer that fails half-way leaves a file that no manifest names. */
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

status blockfile_create(blockfile **f, const char *folder, const char *name);
status blockfile_write(blockfile *f, const void *data, size_t bytes);
status blockfile_close(blockfile *f, blockfile_sums *sums); /* flush, fsync, close; sums filled on success. Frees f always */
void blockfile_abandon(blockfile *f);

status blockfile_check(const char *folder, const blockfile_sums *sums); /* size and every block, naming the first bad one */
status write_file_atomic(const char *path, const void *data, size_t bytes); /* temporary, fsync, rename, fsync folder */
status read_file(const char *path, char **data, size_t *bytes); /* malloc'ed, with a NUL behind; at most 1 GiB */
status fsync_folder(const char *path);
status make_folders(const char *path);       /* mkdir -p */
status remove_folder(const char *path);      /* rm -r of one of ours: files and folders, not through links */

#endif
