/* Hugging Face's names of our parameters: which rows of a parameter each of their tensors holds, and whether it is stored
 * transposed (GPT-2's Conv1D stores matrices as [in,out]). The names are those that save_pretrained writes. OpenAI's GPT-2 files
 * lack the leading "transformer."; weights_read accepts both. */
#ifndef TALLY_HF_H
#define TALLY_HF_H

#include "train/model/param_table.h"

typedef struct {
    char name[96];
    i64 first_row, rows; /* of our [rows,cols]; in a vector they count elements */
    bool transposed;     /* their tensor is [cols,rows] */
} hf_piece;

/* The pieces of p in order: 3 for q/k/v and 2 for gate/up of the Llama family, else 1. Returns their number. */
int hf_pieces(hf_piece pieces[3], const model_config *c, const param *p);

#endif
