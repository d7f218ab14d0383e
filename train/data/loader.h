/* Batches of a corpus. Training windows are T+1 tokens at stride T of the text that is not held out. Each window is used once
 * an epoch, in a permutation keyed by (seed, epoch). Position p of the run is window p % windows of epoch p / windows, so
 * `position` is the whole state. Ranks take batches in turns, so a step uses the same windows on any number of ranks. A
 * thread prepares batches ahead of the step. */
#ifndef TALLY_LOADER_H
#define TALLY_LOADER_H

#include "runtime/tokens.h"
#include "train/data/corpus.h"

typedef struct loader loader;

/* A batch has B sequences of T tokens. This rank's batch i has the B windows from position + (i * ranks + rank) * B on.
 * position: the windows that the run has used so far. */
status loader_open(loader **l, const corpus *c, i64 B, i64 T, uint64_t seed, i64 position, int rank, int ranks);
/* Waits for the next batch. It stays valid until the next call. */
status loader_next(loader *l, token_batch *b);
i64 loader_position(const loader *l); /* of the run, if every rank has taken as many batches as this one */
i64 loader_windows_per_epoch(const loader *l);
void loader_close(loader *l);

#endif
