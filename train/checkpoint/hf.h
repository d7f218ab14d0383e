/* Hugging Face's names for our parameters: which rows of ours each of their tensors is, and whether it is stored
 * transposed (GPT-2's Conv1D keeps matrices [in,out]). Names are those that save_pretrained writes; the GPT-2 files that
 * OpenAI's weights were published in lack the leading "transformer.", which a reader has to allow for. */
#ifndef TALLY_HF_H
#define TALLY_HF_H

#include "train/model/param_table.h"

typedef struct {
    char name[96];
    i64 first_row, rows; /* of our [rows,cols]; a vector's pieces are column ranges: first_row counts elements there */
    bool transposed;     /* theirs is [cols,rows] */
} hf_piece;

/* Pieces of p in order: 1 for most, 3 for q/k/v of the Llama family, 2 for gate/up. Returns how many (at most 3). */
int hf_pieces(hf_piece pieces[3], const model_config *c, const param *p);

#endif
