/* MANIFEST: what a checkpoint consists of.
 *
 *   tally-checkpoint FORMAT block 4194304
 *   file NAME BYTES CRC32 CRC32 ...           a line a file, a crc32 a block
 *   crc32 CRC32                               of all lines before
 *
 * Format 1: config.json, generation_config.json (not in older ones), model.safetensors, optimizer.safetensors,
 * progress.json, in this order. Format 2: written by several ranks; config.json, progress.json and any files beside
 * them. */
#ifndef TALLY_MANIFEST_H
#define TALLY_MANIFEST_H

#include <stdio.h>

#include "train/checkpoint/blockfile.h"

enum { MANIFEST_ALONE = 1, MANIFEST_RANKS = 2 };

typedef struct {
    blockfile_sums *files;
    int count;
} manifest;

void manifest_line(FILE *lines, const blockfile_sums *sums); /* nothing for a file without a name */
status manifest_write(const char *folder, int format, const char *lines);

/* Malformed, of another format or damaged: DATA. The files themselves are not looked at: blockfile_check. */
status manifest_read(manifest *m, const char *folder);
void manifest_free(manifest *m);

#endif
