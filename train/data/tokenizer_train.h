/* Trains a byte-level BPE tokenizer on text, and writes it as `tokenizers` and transformers read it. */
#ifndef TALLY_TOKENIZER_TRAIN_H
#define TALLY_TOKENIZER_TRAIN_H

#include "runtime/choices.h"
#include "train/data/documents.h"

/* What splits text into words, which merges do not cross: the pattern of that model. */
#define WORD_PATTERN_LIST(X) X(WORDS_GPT2, "gpt2") X(WORDS_LLAMA3, "llama3") X(WORDS_QWEN2, "qwen2")
typedef enum { WORD_PATTERN_LIST(CHOICES_VALUE) } word_pattern;

typedef struct {
    i64 vocab_size;    /* special tokens, the 256 bytes and the tokens of merges; at least one merge */
    i64 min_frequency; /* a pair that occurs less often is not merged */
    word_pattern pattern;
    const char *const *special; /* UTF-8; the first one is the end-of-text. NULL: <|endoftext|> alone */
    int special_count;
    int threads;
} tokenizer_train_options;

typedef struct {
    document_summary read;
    i64 words, different_words; /* that the pattern makes of the text */
    i64 tokens, merges;
    i64 least; /* how often the last pair occurred that was merged */
    double read_s, merge_s;
} tokenizer_training;

/* Makes the folder if need be and writes tokenizer.json and tokenizer_config.json into it. A folder with a tokenizer.json is
 * refused. The files depend on the text, its division into documents and the options, not on the threads. */
status tokenizer_train(tokenizer_training *t, const char *folder, const text_source *from,
                       const tokenizer_train_options *o);
void tokenizer_train_free(tokenizer_training *t);

#endif
