/* A whole small file in memory: configurations, manifests. New files, and paths. */
#ifndef TALLY_FILE_H
#define TALLY_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"

/* malloc'ed, with a NUL behind; at most 1 GiB. Pipes work too. A path that cannot be opened because it is absent, a
 * folder or not allowed is DATA (bad input); else IO. */
status read_file(const char *path, char **data, size_t *bytes);

/* A new, empty file to write, never one that is there: what has the name, a link too, is removed first, and no link is
 * followed. Where another process makes it at the same time: fails. */
status file_create(int *fd, const char *path);

typedef struct {
    char text[4096];
} path_text;
path_text path_join(const char *folder, const char *name); /* empty, which no call opens, where it is too long */
bool ends_with(const char *text, const char *end);

#endif
