/* Finds a trained model: in a run (its newest valid checkpoint), a checkpoint, or a Hugging Face folder. */
#ifndef TALLY_MODEL_FOLDER_H
#define TALLY_MODEL_FOLDER_H

#include "runtime/path.h"
#include "train/checkpoint/checkpoint.h"

typedef struct {
    path_text folder;
    model_config config;
    bool checkpoint; /* one of tally, with a MANIFEST that was verified */
} model_folder;

bool model_folder_holds(const char *folder, const char *name);

status model_folder_find(model_folder *f, const char *path);
/* checkpoint_newest, by this process alone */
status model_folder_newest(const char *run, int *found, path_text *folder);

#endif
