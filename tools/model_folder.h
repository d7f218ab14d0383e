/* Finds a trained model: in a run (its newest valid checkpoint), a checkpoint, or a Hugging Face folder. */
#ifndef TALLY_MODEL_FOLDER_H
#define TALLY_MODEL_FOLDER_H

#include "runtime/path.h"
#include "train/checkpoint/checkpoint.h"
#include "train/data/token_list.h"

typedef struct {
    path_text folder;
    model_config config;
    bool checkpoint; /* one of tally, with a MANIFEST that was verified */
} model_folder;

bool model_folder_holds(const char *folder, const char *name);

status model_folder_find(model_folder *f, const char *path);
/* path: as tokenizer_open takes it; NULL: that of the model (model_files_tokenizer). DATA if it has more tokens than the model. */
status model_folder_tokenizer(tokenizer **t, const model_folder *f, const char *path);
/* The tokens that end a generated text, without doubles: "eos_token_id" of generation_config.json; where it has none, of
 * config.json; else the tokenizer's end-of-text. Tokens that the model does not have are logged and left out. */
status model_folder_stops(token_list *stops, const model_folder *f, const tokenizer *t);
/* Logs the keys of generation_config.json, such as "temperature", that other programs apply and `tally generate` does not. */
status model_folder_log_settings(const model_folder *f);
/* checkpoint_newest, by this process alone */
status model_folder_newest(const char *run, int *found, path_text *folder);

#endif
