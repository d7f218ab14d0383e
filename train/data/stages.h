/* The steps of an encoder at work: each passes text to the next as soon as what follows cannot change it. Shared by
 * stages.c (texts that change), stages_split.c (texts that are split) and tokenizer_encode.c. */
#ifndef TALLY_STAGES_H
#define TALLY_STAGES_H

#include "train/data/tokenizer_parts.h"

/* What comes behind a text. */
typedef enum {
    STAGE_MORE,  /* more of the same piece */
    STAGE_BREAK, /* a byte that is not UTF-8; then more of the same piece */
    STAGE_END    /* the end of the piece */
} stage_end;

typedef struct stage stage;
typedef status_code stage_push(stage *s, const char *text, size_t bytes, stage_end end); /* whole characters */

/* A stage holds no more text; a word is no longer either. */
enum { STAGES_MOST_HELD = BPE_LONGEST + (1 << 16) };

struct stage {
    stage_push *push;
    stage *next;
    tokenizer_encoder *e;
    const tokenizer_step *what;
    /* text that what follows may change, from the begin of a match or a word on */
    char *held;
    size_t held_bytes, held_room;
    size_t looked_at; /* bytes of the held text that need not be looked at again; of a split: the size to wait for */
    tokenizer_text made;
    unicode_scratch scratch;
    pattern_matcher *matcher;
    bool open;       /* part of a piece has been passed on */
    bool open_match; /* it is a match of the pattern */
    bool in_gap;     /* part of what is between two matches has been passed on */
    bool stripping;  /* white space belongs to the token that was found */
};

struct tokenizer_encoder {
    const tokenizer *t;
    bool special;
    bool started; /* something of the text has been passed on */
    token_list *out;
    tokenizer_text *text; /* instead of tokens, for tokenizer_normalize */
    bpe_worker *worker;
    stage stages[TOKENIZER_MOST_STEPS + 1];
    int count;
    char cut[4]; /* of a character that is not complete */
    int cut_bytes;
};

stage_push stages_added, stages_nfc, stages_prepend, stages_replace, stages_to_byte_level, stages_from_byte_level;
stage_push stages_split, stages_words, stages_characters;

/* Puts the text behind the held text, if there is any; *text and *bytes then are both. */
status stages_join(stage *s, const char **text, size_t *bytes);
/* Holds the text from `at` on, and no more. */
status stages_hold(stage *s, const char *text, size_t bytes, size_t at);

static inline status stages_pass(stage *s, const char *text, size_t bytes, stage_end end) {
    return s->next->push(s->next, text, bytes, end);
}

#endif
