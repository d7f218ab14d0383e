/* A whole small file in memory: configurations, manifests. New files. */
#ifndef TALLY_FILE_H
#define TALLY_FILE_H

#include <stddef.h>

#include "runtime/status.h"

/* A regular file, to read. What is none (a pipe without a writer would wait for ever, /dev/zero never ends) is DATA, and so
 * is a path that is absent or not allowed; else IO. size: as the system tells it; files of /proc have 0. */
status file_open(int *fd, const char *path, size_t *size);

/* malloc'ed, with a NUL behind. Regular files only; more than `most` bytes (file_read: 1 GiB) are DATA. */
status file_read(const char *path, char **data, size_t *bytes);
status file_read_up_to(size_t most, const char *path, char **data, size_t *bytes);

/* A new, empty file to write, never one that is there: what has the name, a link too, is removed first, and no link is
 * followed. Where another process makes it at the same time: fails. */
status file_create(int *fd, const char *path);

#endif
