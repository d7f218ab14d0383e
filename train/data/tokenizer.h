/* Tokenizers: text to token ids and back.
 *
 * The byte tokenizer has the 256 bytes as tokens and an end-of-text, 256.
 *
 * A document of training data is: begin-of-text if the tokenizer has one, the tokens of its text, end-of-text.
 *
 * Text is bytes. Where it is not UTF-8, each wrong byte becomes the token of that byte, if there is one.
 *
 * README.md lists what of a tokenizer.json is supported. */
#ifndef TALLY_TOKENIZER_H
#define TALLY_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/path.h"
#include "train/data/token_list.h"

typedef struct tokenizer tokenizer; /* does not change once it is open: threads share it */

/* path: NULL or "bytes" for the byte tokenizer; or a tokenizer.json with a BPE, byte-level or SentencePiece's; or a folder that
 * holds one, or else GPT-2's two files, vocab.json (encoder.json) and merges.txt (vocab.bpe). "truncation" and "padding" of a
 * tokenizer.json are for batches and are ignored. DATA names what else a file asks for and tally does not support. */
status tokenizer_open(tokenizer **t, const char *path);
void tokenizer_close(tokenizer *t);

i64 tokenizer_size(const tokenizer *t); /* the highest id + 1 */
/* of a token as its file writes it ("<|endoftext|>"; "\u0120the" for " the" with a byte-level alphabet); -1: no such token */
int32_t tokenizer_id(const tokenizer *t, const char *token);
/* the reverse; NULL: no token has this id. The byte tokenizer writes a byte as <0x0A> and 256 as <|endoftext|>. */
const char *tokenizer_name(const tokenizer *t, int32_t id);
bool tokenizer_is_special(const tokenizer *t, int32_t id); /* such as end-of-text: not part of the text itself */
int32_t tokenizer_end_of_text(const tokenizer *t);         /* follows each document of training data; -1: none */
int32_t tokenizer_begin_of_text(const tokenizer *t);       /* comes before each text, as Llama's <s>; -1: none */

/* what its post-processor puts after a text, as RoBERTa's </s>; -1: none. Documents of training data do not have it. */
int32_t tokenizer_after_text(const tokenizer *t);

/* "bytes", or e.g. "bpe-50257-1a2b3c4d": equal for tokenizers that turn every text into the same ids, whatever the style of
 * their files */
const char *tokenizer_fingerprint(const tokenizer *t);

/* The files that define it and those beside it (chat_template.jinja), to be copied beside a model that was trained with it.
 * Returns how many there are. A tokenizer.json is the first; it may have another name. */
enum { TOKENIZER_MOST_FILES = 8 };
int tokenizer_files(const tokenizer *t, path_text files[TOKENIZER_MOST_FILES]);

/* ---- encoding ---- */

typedef struct tokenizer_encoder tokenizer_encoder; /* the working memory and cache of one thread */

/* special: find special tokens (such as <|endoftext|>) in the text. Without it they are text like any other, as text of
 * unknown origin needs. */
status tokenizer_encoder_open(tokenizer_encoder **e, const tokenizer *t, bool special);
void tokenizer_encoder_close(tokenizer_encoder *e);

/* Appends the ids of a part of a text to `out`, without begin-of-text and end-of-text. A text may come in parts of any
 * size, cut anywhere: its ids do not depend on the cuts. `last` ends the text; its last ids may come only then. The next
 * call begins another text. After an error, call tokenizer_encode_restart before the next text. */
status tokenizer_encode(tokenizer_encoder *e, token_list *out, const char *text, size_t bytes, bool last);
void tokenizer_encode_restart(tokenizer_encoder *e); /* forgets the text begun */

/* ---- decoding ---- */

/* Text that grows. Initialise with zeros. text[bytes] is NUL if anything was appended. */
typedef struct {
    char *text;
    size_t bytes, capacity;
} tokenizer_text;
status tokenizer_text_add(tokenizer_text *to, const char *text, size_t bytes);
void tokenizer_text_free(tokenizer_text *text);

typedef struct tokenizer_decoder tokenizer_decoder; /* one text in progress */

/* special: write special tokens too; otherwise they are skipped. */
status tokenizer_decoder_open(tokenizer_decoder **d, const tokenizer *t, bool special);
void tokenizer_decoder_close(tokenizer_decoder *d);

/* Appends the text of `count` ids. The bytes of a UTF-8 character appear together, when the last of them is known; bytes that
 * belong to no character are written as they are. `last` ends the text and writes what is left. An id that no token has
 * writes nothing: a model's vocabulary may be padded. */
status tokenizer_decode(tokenizer_decoder *d, tokenizer_text *out, const int32_t *ids, i64 count, bool last);

#endif
