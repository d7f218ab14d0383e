/* MANIFEST: the files of a checkpoint and their checksums.
 *
 *   tally-checkpoint FORMAT block 4194304
 *   file NAME BYTES CRC32 CRC32 ...           a line per file, a crc32 per block
 *   crc32 CRC32                               of all lines above
 *
 * Format 2: config.json, progress.json and any other files. Format 1, which earlier versions wrote with one rank: config.json,
 * generation_config.json (absent in the oldest), model.safetensors, optimizer.safetensors, progress.json, in this order. */
#ifndef TALLY_MANIFEST_H
#define TALLY_MANIFEST_H

#include <stdio.h>

#include "train/checkpoint/blockfile.h"

enum { MANIFEST_FIXED = 1, MANIFEST_FREE = 2 };

typedef struct {
    blockfile_sums *files;
    int count;
} manifest;

void manifest_line(FILE *lines, const blockfile_sums *sums); /* writes nothing if sums->name is "" */
status manifest_write(const char *folder, int format, const char *lines);

/* DATA if it is malformed, damaged or of another format. Does not check the files: see blockfile_check. */
status manifest_read(manifest *m, const char *folder);
void manifest_free(manifest *m);

#endif
