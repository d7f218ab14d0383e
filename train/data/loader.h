/* Batches of a corpus. Training windows are the non-overlapping runs of T+1 tokens at stride T of what is not held out; each
 * is seen once an epoch, in a permutation keyed by (seed, epoch). Position p of the run is window p % windows of epoch
 * p / windows, so that `position` is all the state there is. Ranks take batches in turns, so that a step consumes the same
 * windows on any number of them. A thread makes batches ahead of the step. */
#ifndef TALLY_LOADER_H
#define TALLY_LOADER_H

#include "train/data/corpus.h"

typedef struct loader loader;

/* B sequences of T tokens a batch: this rank's batch i is of windows position + (i * ranks + rank) * B and on. position:
 * windows that the run has consumed (0 at its start). */
status loader_open(loader **l, const corpus *c, i64 B, i64 T, uint64_t seed, i64 position, int rank, int ranks);
/* Waits for the next batch. tokens, targets [B,T] i32 stay valid until the next call. */
status loader_next(loader *l, const int32_t **tokens, const int32_t **targets);
i64 loader_position(const loader *l); /* of the run, where every rank has been handed as many batches as this one */
i64 loader_windows_per_epoch(const loader *l);
void loader_close(loader *l);

#endif
