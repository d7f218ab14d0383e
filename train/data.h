/* Text to batches. Files, folders (recursively, sorted), .gz of either (zlib), .jsonl (one document a line, its
 * "text"). Byte-level tokens: 0..255 are bytes, 256 is end-of-text, which follows every document; what is empty is no
 * document. In a folder, hidden entries, links to folders and what holds a NUL byte are passed over, the latter two
 * with a line that counts them; whatever is named itself, or looks like text and is damaged, is an error.
 *
 * Documents are put in a seeded order; the last `val_fraction` of the token stream is held out. Training windows are
 * the non-overlapping runs of T+1 tokens at stride T of the rest; each is seen once an epoch, in a permutation keyed by
 * (seed, epoch); position p of the run is window p % windows of epoch p / windows, so that `position` is all the state
 * there is. Ranks take batches in turns, so that a step consumes the same windows on any number of them. A thread makes
 * batches ahead of the step. */
#ifndef TALLY_DATA_H
#define TALLY_DATA_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

enum { TOKEN_END_OF_TEXT = 256, BYTE_VOCABULARY = 257 };

typedef struct {
    uint16_t *tokens;
    i64 count;       /* of all tokens */
    i64 train_count; /* the first so many are for training, the rest are held out */
    i64 documents;
    i64 bytes;      /* of text */
    uint32_t crc32; /* of the token stream in its order: a checkpoint remembers it */
} corpus;

status corpus_load(corpus *c, const char *const *paths, int count, double val_fraction, uint64_t seed);
void corpus_free(corpus *c);

typedef struct loader loader;

/* B sequences of T tokens a batch: this rank's batch i is of windows position + (i * ranks + rank) * B and on. position:
 * windows that the run has consumed (0 at its start). */
status loader_open(loader **l, const corpus *c, i64 B, i64 T, uint64_t seed, i64 position, int rank, int ranks);
/* Waits for the next batch. tokens, targets [B,T] i32 stay valid until the next call. */
status loader_next(loader *l, const int32_t **tokens, const int32_t **targets);
i64 loader_position(const loader *l); /* of the run, where every rank has been handed as many batches as this one */
i64 loader_windows_per_epoch(const loader *l);
void loader_close(loader *l);

/* Held-out batch i (fixed windows in order, no permutation): what lies past the end has token TOKEN_END_OF_TEXT and
 * target -1. False past the last, and always where fewer than 2 tokens are held out. */
bool corpus_val_batch(const corpus *c, i64 i, i64 B, i64 T, int32_t *tokens, int32_t *targets);

#endif
