/* Files of a checkpoint: written in sequence with a crc32 for every 4 MiB block, fsynced at close; and checked against
 * those. A writer that fails half-way leaves a file that no manifest names.
 *
 * Everything that must survive a crash is written, synced and renamed here, so that tests can crash at every such call:
 * with TALLY_CRASH_AT_WRITE=N in the environment the process kills itself (SIGKILL) just before its N-th write, fsync
 * or rename, counted from 1. The variable is read once, at the first such call. */
#ifndef TALLY_BLOCKFILE_H
#define TALLY_BLOCKFILE_H

#include <stdint.h>

#include "runtime/file.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

enum { BLOCKFILE_BLOCK = 4 << 20 };

/* Called before anything below is made, renamed or removed, and what it fails with is passed on: whether this process may
 * still write there. NULL: no check. */
void blockfile_guard(status_code (*check)(void));

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

status write_file_atomic(const char *path, const void *data, size_t bytes); /* PATH.tmp, fsync, rename, fsync folder */
status fsync_file(int fd, const char *path);
status rename_folder(const char *from, const char *to); /* rename, fsync of the folder that holds `to` */
status fsync_folder(const char *path);
status make_folders(const char *path); /* mkdir -p; the entry of each new folder is synced */
status
remove_folder(const char *path); /* rm -r of one of ours: files and folders, not through links. Absent: nothing to do */

#endif
