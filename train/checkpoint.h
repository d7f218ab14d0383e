/* A checkpoint is a folder RUN/checkpoints/step-N:
 *
 *   config.json            the model, in Hugging Face's keys
 *   model.safetensors      weights in their training dtype under Hugging Face's names
 *   optimizer.safetensors  master.*, m.*, v.* of every parameter
 *   progress.json          step, position in the data, ledger
 *   MANIFEST               name, size and crc32 of every 4 MiB block of the files above; its last line its own crc32
 *
 * It is written as .step-N.tmp, every file fsynced, then renamed: a folder named step-N is whole, unless the medium
 * failed, which the crc32 tell. */
#ifndef TALLY_CHECKPOINT_H
#define TALLY_CHECKPOINT_H

#include "runtime/meter.h"
#include "train/state.h"

typedef struct {
    uint64_t step;    /* of the run, skipped steps included */
    uint64_t updates; /* optimizer steps taken */
    uint64_t skipped;
    uint64_t tokens;  /* trained on */
    uint64_t windows; /* position in the data, see data.h */
    uint64_t seed;
    uint64_t data_crc32;   /* of the token stream */
    uint64_t train_tokens; /* the first so many of it are for training */
    uint64_t seq_len, global_batch;
    uint64_t threads;
    uint64_t booked_ns[BOOKINGS];
    double energy_j;
    char precision[16], moments[16], master[16];
} progress;

typedef struct {
    char text[4096];
} path_text;
path_text checkpoint_path(const char *run, uint64_t step);

status checkpoint_save(const char *run, const state *s, const model_config *c, const progress *p);
/* After a save at `step`: it and the ones before it stay, `keep` in all. Later ones, which a resume had passed over as
 * broken, go, and so do leftovers of interrupted saves. */
status checkpoint_prune(const char *run, uint64_t step, int64_t keep);

/* The newest whole checkpoint of the run. Each broken one that is passed over is told to `log_line`. found: 0 none at all,
 * else 1. All broken: fails. */
status checkpoint_newest(const char *run, int *found, path_text *folder);

status checkpoint_verify(const char *folder); /* every byte against the manifest */
status checkpoint_progress(const char *folder, progress *p);
status checkpoint_load(const char *folder, state *s, const model_config *c); /* weights, master, moments */

#endif
