/* The paths of a dataset: which are token files, which weight each has. */
#ifndef TALLY_DATASET_PATHS_H
#define TALLY_DATASET_PATHS_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

/* "PATH:0.7" is PATH with weight 0.7, unless a file has that name. *path is malloc'ed; *weight: NaN if there is none. ARG: the
 * weight is not a positive number. */
status dataset_paths_split(char **path, double *weight, const char *text);

/* What is found under paths. Initialise with zeros. */
typedef struct {
    char **files; /* token files, in order */
    int file_count, capacity;
    const char *of_text;  /* the first of the paths that holds no token file; NULL: each does */
    const char *of_files; /* the first of the paths that does; NULL: none */
    i64 text_bytes;       /* of the files under paths without token files */
    uint32_t text_crc;    /* of their names, sizes and times of change */
    i64 other_files;      /* in folders with token files */
} dataset_paths;

status dataset_paths_add(dataset_paths *p, const char *path);
void dataset_paths_free(dataset_paths *p);

#endif
