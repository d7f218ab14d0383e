/* The files beside the weights in a model's folder, which tell other programs how to use it:
 *
 *   config.json            the model, with Hugging Face's keys
 *   generation_config.json the tokens at which a text begins and ends, for transformers' generate()
 *   tokenizer.json, ...    the files of the tokenizer, as they were when it was opened; the byte tokenizer gets files that give
 *                          the same ids in the `tokenizers` library
 *   README.md              the model card: what the model is and what its training cost */
#ifndef TALLY_MODEL_FILES_H
#define TALLY_MODEL_FILES_H

#include <stdio.h>

#include "train/checkpoint/progress.h"
#include "train/data/tokenizer.h"
#include "train/model/model_config.h"

typedef struct {
    char name[64];
    char *text;
    size_t bytes;
} model_file;

enum { MODEL_FILES_MOST = TOKENIZER_MOST_FILES + 2 };

typedef struct {
    model_file list[MODEL_FILES_MOST]; /* those of the tokenizer; perhaps generation_config.json */
    int count;
    bool tokenizer;     /* there is one: begin and end are known */
    int32_t begin, end; /* tokens that begin and end a text; -1: none */
} model_files;

/* The tokenizer of the model in a folder: that of its files, or the byte tokenizer if it has none and a vocabulary of 257. DATA if
 * there is none, or if it has more tokens than the vocabulary. */
status model_files_tokenizer(tokenizer **t, const char *folder, i64 vocabulary);

/* Reads what is to be copied. t: NULL: no tokenizer. from: a folder whose generation_config.json is kept, if it has one; NULL: none. Otherwise
 * generation_config.json is made from the tokenizer: its begin-of-text, or the end-of-text where it has none, and its
 * end-of-text. */
status model_files_read(model_files *m, const tokenizer *t, const char *from);
void model_files_free(model_files *m);

/* Writes all of them into the folder. m: NULL: without tokenizer. t: dtype of the weights. p: for the card; NULL: without card.
 * lines: gets their lines of the manifest; NULL: there is none. */
status model_files_write(FILE *lines, const char *folder, const model_files *m, const model_config *c, dtype t,
                         const progress *p);
/* Writes one file and frees its text. */
status model_files_put(FILE *lines, const char *folder, const char *name, char *text);

/* The model card; malloc'ed. Its metadata hold tokens, model FLOPs, kWh and money under "tally". */
status model_files_card(char **text, const model_config *c, const progress *p);

#endif
