/* A checkpoint is a folder RUN/checkpoints/step-N:
 *
 *   config.json, generation_config.json, tokenizer.json, README.md and the like                   (model_files.h)
 *   model.safetensors      weights in their training dtype, with Hugging Face's names      (weights.h)
 *   optimizer.safetensors  master.*, m.*, v.* of every parameter                            (optimizer_file.h)
 *   progress.json          step, position in the data, what the run has spent               (progress.h)
 *   MANIFEST               name, size and a crc32 per 4 MiB block of the files above        (manifest.h)
 *
 * transformers loads it as it is. Several ranks write their parts of the weights and of the optimizer state into files of their own, with Hugging Face's index.
 * Any number of ranks with any sharding can load it.
 *
 * A checkpoint is written as .step-N.tmp, every file is fsynced, then the folder is renamed. So a folder named step-N is
 * complete, unless the medium failed, which the crc32 detect.
 *
 * All functions but checkpoint_verify and checkpoint_progress are collective and return the same status on every rank. All ranks
 * must see the folder. */
#ifndef TALLY_CHECKPOINT_H
#define TALLY_CHECKPOINT_H

#include "runtime/path.h"
#include "runtime/status.h"
#include "train/checkpoint/model_files.h"
#include "train/model/parameters.h"

path_text checkpoint_path(const char *run, uint64_t step);

typedef struct {
    const model_config *config;
    const progress *progress;
    const model_files *files; /* rank 0's count; NULL: no tokenizer */
} checkpoint_contents;

/* Replaces a checkpoint of the same step. NUMERIC if a weight, a moment or a master weight is not finite; then nothing is
 * saved. */
status checkpoint_save(const char *run, parameters *s, const checkpoint_contents *with);
/* Call it after a save at `step`. Keeps the newest `keep` checkpoints up to `step` that are not marked as not finite; of the
 * marked ones it keeps only that of `step`. Removes later checkpoints, which a resume has skipped, and what interrupted saves
 * left. */
status checkpoint_prune(comm *world, const char *run, uint64_t step, int64_t keep);

/* The newest complete checkpoint to train on from, the same on all ranks, which share the reading. It skips a checkpoint that
 * progress.json marks as not finite, and an older one with the same weights; where the mark is missing, it checks the weights. If
 * no other checkpoint is complete, it takes the newest of these, with a warning. Rank 0 logs each that is skipped. *found: 0 if
 * the run has no checkpoint, else 1. Fails with DATA if none is complete. */
status checkpoint_newest(comm *world, const char *run, int *found, path_text *folder);

status checkpoint_verify(const char *folder); /* checks every byte against the manifest */
status checkpoint_progress(const char *folder, progress *p);
status checkpoint_load(const char *folder, parameters *s, const model_config *c); /* weights, master, moments */
/* Only the weights, all of them on one rank. In fp32: from the master weights, if the checkpoint has them. */
status checkpoint_load_weights(const char *folder, parameters *s, const model_config *c);

#endif
