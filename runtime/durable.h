/* Changes to files and folders that survive a crash of the process or of the machine. A function here returns when its change
 * is on the disk, as far as fsync guarantees that.
 *
 * Every such change is made here, so that tests can crash at each of them: if the environment has TALLY_CRASH_AT_WRITE=N,
 * the process kills itself (SIGKILL) just before its N-th write, fsync or rename, counted from 1. The variable is read at
 * the first of these calls. */
#ifndef TALLY_DURABLE_H
#define TALLY_DURABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"

/* Whether this process still holds the lock of the run and may write (run_lock.h). */
typedef struct {
    status_code (*check)(
        void); /* called before a file is created, renamed or removed; its error is returned. NULL: no check */
    bool (*allowed)(void); /* for small writes of other threads: makes no system call, sets no error. NULL: always */
} durable_guard;
void durable_set_guard(durable_guard g);
bool durable_allowed(void);

/* A file that is written in steps. Only durable_sync puts its contents on the disk, and only durable_sync_folder its name. */
status durable_create(int *fd, const char *path); /* replaces an older file of that name: file_create */
status durable_write(int fd, const char *path, const void *data, size_t bytes);
status durable_sync(int fd, const char *path);
status durable_close(int fd, const char *path);

/* Replaces a file atomically: writes PATH.tmp, syncs it, renames it, syncs the folder. */
status durable_write_file(const char *path, const void *data, size_t bytes);
/* The same without sync, for what is replaced often and read while it is new: after a crash of the machine the file may be an
 * older one, or empty. */
status durable_replace_file(const char *path, const void *data, size_t bytes);
status durable_rename(const char *from, const char *to); /* a file or folder; syncs the folder that holds `to` */
status durable_sync_folder(const char *path);
status durable_make_folders(const char *path); /* mkdir -p; the entry of each new folder is synced */
/* rm -r. Links are removed, not followed. A missing folder is not an error. */
status durable_remove_folder(const char *path);

#endif
