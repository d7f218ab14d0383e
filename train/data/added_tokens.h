/* Tokens that are found in a text before it is split, such as <|endoftext|>: the longest at the leftmost place. */
#ifndef TALLY_ADDED_TOKENS_H
#define TALLY_ADDED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

/* Each place of a text is searched for the tokens that may begin there: this bounds the steps a byte. */
enum { ADDED_TOKENS_LONGEST = 512 };

typedef struct {
    int32_t id;
    bool special;
    bool strip_left, strip_right; /* white space beside it belongs to it */
} added_token;

typedef struct {
    struct added_node *nodes; /* a trie; node 0 is the root */
    i64 node_count, node_room;
    added_token *list;
    i64 count, room;
    i64 first[256];                                  /* the node of each first byte; 0: none */
    int firsts;                                      /* how many first bytes there are */
    char only_first;                                 /* if it is one */
    bool strip_left, strip_right, begins_with_space; /* whether any does */
} added_tokens;                                      /* initialise with zeros */

status added_tokens_add(added_tokens *a, const char *content, size_t bytes,
                        added_token t); /* DATA: empty, longer than that, or twice */
void added_tokens_free(added_tokens *a);

/* The first byte at text[from] or later that may begin a token; `bytes` if there is none. */
size_t added_tokens_next(const added_tokens *a, const char *text, size_t bytes, size_t from);

/* The longest token at the start of the text: its length, with *token; 0: there is none. *more: text that follows may
 * change that. */
size_t added_tokens_match(const added_tokens *a, const char *text, size_t bytes, const added_token **token, bool *more);

#endif
