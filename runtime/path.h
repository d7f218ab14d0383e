/* The paths of files. One that is too long becomes empty, and no call opens an empty path. */
#ifndef TALLY_PATH_H
#define TALLY_PATH_H

#include <stdbool.h>

typedef struct {
    char text[4096];
} path_text;

path_text path_join(const char *folder, const char *name);       /* folder/name */
path_text path_add_ending(const char *path, const char *ending); /* "a.jsonl" and ".tmp": "a.jsonl.tmp" */
path_text path_last(const char *path);                           /* "b" of "a/b" and of "a/b/" */
bool path_ends_with(const char *path, const char *ending);

#endif
