/* Changes to files and folders that survive a crash of the process or of the machine: each function returns when what it did is
 * on the medium, as far as fsync can tell.
 *
 * Everything that must survive goes through here, so that tests can crash at every such call: with
 * TALLY_CRASH_AT_WRITE=N in the environment the process kills itself (SIGKILL) just before its N-th write, fsync or rename,
 * counted from 1. The variable is read once, at the first such call. */
#ifndef TALLY_DURABLE_H
#define TALLY_DURABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"

/* Whether this process may still write: of the lock that it holds (run_lock.h). */
typedef struct {
    status_code (*check)(
        void); /* called before anything is made, renamed or removed; its error is passed on. NULL: no check */
    bool (*allowed)(void); /* the same for another thread's small writes: no system calls, no error. NULL: always */
} durable_guard;
void durable_set_guard(durable_guard g);
bool durable_allowed(void);

/* A file written in steps. Only durable_sync puts its contents on the medium, and only durable_sync_folder its name. */
status durable_create(int *fd, const char *path); /* replaces an older file of that name: file_create */
status durable_write(int fd, const char *path, const void *data, size_t bytes);
status durable_sync(int fd, const char *path);
status durable_close(int fd, const char *path);

/* The whole file or none of it: writes PATH.tmp, syncs it, renames it, syncs the folder. */
status durable_write_file(const char *path, const void *data, size_t bytes);
status durable_rename(const char *from, const char *to); /* a file or folder; syncs the folder that holds `to` */
status durable_sync_folder(const char *path);
status durable_make_folders(const char *path); /* mkdir -p; the entry of each new folder is synced */
/* rm -r of a folder of ours: files and folders; links are removed, not followed. An absent folder is no error. */
status durable_remove_folder(const char *path);

#endif
