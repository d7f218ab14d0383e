/* Batches of training windows: T+1 tokens at stride T of the part of a source that is not held out. Each window of a source is
 * used once an epoch of that source, in a permutation keyed by (seed, source, epoch); mix.h decides from which source the next
 * window is. So the position, which counts the windows used of each source, is the whole state. Ranks take batches in turns, so
 * a step uses the same windows on any number of ranks. A thread prepares batches ahead of the step.
 *
 * The permutation needs no memory (order.h), except for a single text that is read as bytes: runs of earlier versions have used
 * its windows in the order of a Fisher-Yates shuffle, and so does every run on such a text of up to LOADER_TABLE_WINDOWS. */
#ifndef TALLY_LOADER_H
#define TALLY_LOADER_H

#include "runtime/tokens.h"
#include "train/data/mix.h"
#include "train/data/source.h"

enum { LOADER_TABLE_WINDOWS = 1 << 24 };

typedef enum { LOADER_ORDER_CHOOSE, LOADER_ORDER_TABLE, LOADER_ORDER_KEYED } loader_order;

typedef struct {
    i64 B, T;
    uint64_t seed;
    int rank, ranks;
    bool documents;     /* batches have starts: see token_batch */
    loader_order order; /* that of the run, if it is resumed */
} loader_options;

typedef struct loader loader;

/* A batch has B sequences of T tokens. This rank's batch i has the B windows from position + (i * ranks + rank) * B on.
 * position: what the run has used so far; NULL: nothing. The sources must stay as long as the loader. */
status loader_open(loader **l, source *sources, int count, loader_options o, const mix_position *position);
/* Waits for the next batch. It stays valid until the next call. Fails if a source cannot be read. */
status loader_next(loader *l, token_batch *b);
mix_position loader_position(const loader *l); /* of the run, if every rank has taken as many batches as this one */
i64 loader_windows_per_epoch(const loader *l, int which); /* of source number `which` */
loader_order loader_order_of(const loader *l);            /* which one it was */
void loader_close(loader *l);

#endif
