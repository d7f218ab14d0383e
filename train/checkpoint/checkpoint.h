/* A checkpoint is a folder RUN/checkpoints/step-N:
 *
 *   config.json            the model, in Hugging Face's keys
 *   generation_config.json the tokens at which a text begins and ends, for transformers' generate()
 *   model.safetensors      weights in their training dtype under Hugging Face's names      (weights.h)
 *   optimizer.safetensors  master.*, m.*, v.* of every parameter                            (optimizer_file.h)
 *   progress.json          step, position in the data, ledger                               (progress.h)
 *   MANIFEST               name, size and crc32 of every 4 MiB block of the files above     (manifest.h)
 *
 * Several ranks write their parts of the weights and of the optimizer's state each into files of their own, and
 * Hugging Face's index beside them. Any number of ranks, sharded in any way, loads what any other number has written.
 *
 * It is written as .step-N.tmp, every file fsynced, then renamed: a folder named step-N is whole, unless the medium
 * failed, which the crc32 tell.
 *
 * Of several ranks all call these together (checkpoint_verify and checkpoint_progress alone), and all get the same
 * status: what fails on one fails on all. The folder is on a file system that all see. */
#ifndef TALLY_CHECKPOINT_H
#define TALLY_CHECKPOINT_H

#include "runtime/path.h"
#include "runtime/status.h"
#include "train/checkpoint/progress.h"
#include "train/model/parameters.h"

path_text checkpoint_path(const char *run, uint64_t step);

/* Replaces one of the same step. NUMERIC where a weight, a moment or a master weight is not finite: then nothing is saved. */
status checkpoint_save(const char *run, parameters *s, const model_config *c, const progress *p);
/* After a save at `step`: it and the ones before it stay, `keep` of them that are not marked as not finite; of those that
 * are, only that of `step`. Later ones, which a resume had passed over, go, and so do leftovers of interrupted saves. */
status checkpoint_prune(comm *world, const char *run, uint64_t step, int64_t keep);

/* The newest whole checkpoint of the run that can be trained on, the same on all ranks, which share the reading. One whose
 * progress.json says that its loss was not finite is passed over, and so is an older one that has the same weights; of one
 * whose file does not tell, the weights are looked at. Where no other is whole, the newest of these is taken, with a
 * warning. Each that is passed over is told to `log_line` by rank 0. found: 0 none at all, else 1. All broken: fails. */
status checkpoint_newest(comm *world, const char *run, int *found, path_text *folder);

status checkpoint_verify(const char *folder); /* every byte against the manifest */
status checkpoint_progress(const char *folder, progress *p);
status checkpoint_load(const char *folder, parameters *s, const model_config *c); /* weights, master, moments */

#endif
