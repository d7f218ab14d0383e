/* Shared by the files of a tokenizer: tokenizer.c (a tokenizer and its tokens), tokenizer_open.c (its files and steps),
 * tokenizer_json.c, tokenizer_model.c (vocabulary and merges), tokenizer_encode.c with stages*.c, tokenizer_decode.c. */
#ifndef TALLY_TOKENIZER_PARTS_H
#define TALLY_TOKENIZER_PARTS_H

#include "runtime/choices.h"
#include "runtime/json.h"
#include "train/data/added_tokens.h"
#include "train/data/bpe.h"
#include "train/data/pattern.h"
#include "train/data/tokenizer.h"
#include "train/data/unicode.h"
#include "train/data/vocabulary.h"

/* What becomes of the matches of a pattern that splits. */
#define SPLIT_LIST(X)                                                                                                  \
    X(SPLIT_REMOVED, "Removed")                                                                                        \
    X(SPLIT_ISOLATED, "Isolated")                                                                                      \
    X(SPLIT_MERGED_WITH_PREVIOUS, "MergedWithPrevious")                                                                \
    X(SPLIT_MERGED_WITH_NEXT, "MergedWithNext")                                                                        \
    X(SPLIT_CONTIGUOUS, "Contiguous")
typedef enum { SPLIT_LIST(CHOICES_VALUE) } split_kind;

/* A step of what happens to a text before its words are encoded. Between steps there are pieces: at first the text between
 * added tokens, after a split its words. */
typedef enum {
    STEP_ADDED,         /* finds added tokens */
    STEP_NFC,           /* normalizes */
    STEP_PREPEND,       /* puts `to` before each piece; unless_there: not if it begins with it; first_only: of a text */
    STEP_REPLACE,       /* each `from` becomes `to` */
    STEP_SPLIT,         /* splits each piece by a pattern; invert: what is between the matches counts as matches */
    STEP_TO_BYTE_LEVEL, /* from here on, patterns see the bytes as characters of GPT-2's alphabet */
    STEP_FROM_BYTE_LEVEL, /* back */
    STEP_MODEL            /* encodes the pieces as words */
} step_kind;

enum { STEP_TEXT = 64 };
typedef struct {
    step_kind kind;
    char from[STEP_TEXT], to[STEP_TEXT];
    bool unless_there, first_only, invert;
    split_kind split;
    char *regex; /* as the file writes it */
    pattern *p;
    const added_tokens *added;
} tokenizer_step;

enum { TOKENIZER_MOST_STEPS = 24 };

struct tokenizer {
    vocabulary tokens;
    unsigned char *special; /* [size] whether each token is one */
    unsigned char *outside; /* [size] whether the model's vocabulary lacks it; NULL: none */
    int32_t begin_of_text, end_of_text;
    int32_t after; /* the token that the post-processor puts behind a text, as RoBERTa's </s>; -1: none */
    char fingerprint[64];
    path_text files[TOKENIZER_MOST_FILES];
    int file_count;

    /* encoding; the byte tokenizer has none of it */
    tokenizer_step steps[TOKENIZER_MOST_STEPS];
    int step_count;
    added_tokens added, added_normalized;
    unicode_nfc_starts *nfc;
    bpe *model;
    bool byte_level;

    /* decoding: token i adds what is from written_at[i] to written_at[i + 1] */
    char *written;
    size_t *written_at; /* [size + 1] */
    bool strip_space;   /* a space at the start of a text is dropped */
};

/* ---- opening ---- */

/* tokenizer_open.c */
status tokenizer_add_step(tokenizer *t, tokenizer_step **step, step_kind kind); /* DATA: too many */
status tokenizer_add_split(tokenizer *t, const char *regex, split_kind split, bool invert);

status tokenizer_add_literal_split(tokenizer *t, const char *text, split_kind split, bool invert);
status tokenizer_open_path(tokenizer *t, const char *path);

/* tokenizer_json.c: all of tokenizer.json */
status tokenizer_read_json(tokenizer *t, const char *path);

/* tokenizer_model.c: the vocabulary and the merges, which come before the rest. */
typedef struct {
    bpe_merge *list;
    i64 count, room;
} tokenizer_merges;
/* Reads model.vocab and model.merges of a tokenizer.json; *rest is the tree of all other values. */
status tokenizer_read_model(tokenizer *t, tokenizer_merges *merges, json_t **rest, const char *path);
/* Reads GPT-2's vocab.json (encoder.json) and merges.txt (vocab.bpe). */
status tokenizer_read_pair(tokenizer *t, tokenizer_merges *merges, const char *vocabulary_path,
                           const char *merges_path);

/* tokenizer_open.c: the last part of opening; sets the fingerprint */
status tokenizer_set_model(tokenizer *t, const tokenizer_merges *merges, bpe_options o);

/* tokenizer_decoder.c: fills `written` by the decoder of a tokenizer.json; NULL: ByteLevel */
status tokenizer_read_decoder(tokenizer *t, const json_t *decoder, const char *path);

/* tokenizer_encode.c: applies the steps from `first` to before `end` to a text, for the normalized form of added tokens */
status tokenizer_normalize(const tokenizer *t, int first, int end, tokenizer_text *out, const char *text);

#endif
