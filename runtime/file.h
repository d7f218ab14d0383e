/* Reading a whole small file (a configuration, a manifest) into memory, and creating a new file. */
#ifndef TALLY_FILE_H
#define TALLY_FILE_H

#include <stddef.h>

#include "runtime/status.h"

/* Opens a regular file for reading. Anything else fails with DATA: opening a pipe without a writer would wait for ever, and
 * /dev/zero never ends. A missing file and missing permission are DATA too, other errors IO. size: from fstat; 0 in /proc. */
status file_open(int *fd, const char *path, size_t *size);

/* data: malloc'ed and NUL-terminated. Reads regular files only. More than `most` bytes (file_read: 1 GiB) are DATA. */
status file_read(const char *path, char **data, size_t *bytes);
status file_read_up_to(size_t most, const char *path, char **data, size_t *bytes);

/* Creates an empty file for writing. An existing file or link of that name is removed first; links are not followed. Fails
 * if another process creates the file at the same time. */
status file_create(int *fd, const char *path);

#endif
