/* Shared by tokenizer.c (a tokenizer and its tokens), tokenizer_encode.c and tokenizer_decode.c. */
#ifndef TALLY_TOKENIZER_PARTS_H
#define TALLY_TOKENIZER_PARTS_H

#include "train/data/tokenizer.h"
#include "train/data/vocabulary.h"

struct tokenizer {
    vocabulary tokens;
    unsigned char *special; /* [size] whether each token is one */
    int32_t begin_of_text, end_of_text;
    char fingerprint[64];
    /* what each token adds to a decoded text: token i from written_at[i] to written_at[i + 1] */
    char *written;
    size_t *written_at; /* [size + 1] */
};

#endif
