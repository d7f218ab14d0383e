/* Shared by tokenize.c (the work) and tokenize_state.c (tokenize.json). */
#ifndef TALLY_TOKENIZE_PARTS_H
#define TALLY_TOKENIZE_PARTS_H

#include "train/data/tokenize.h"

typedef struct {
    document_files files; /* what is read */
    i64 shards, documents, bytes, tokens;
    document_place next; /* behind the last whole token file */
    bool complete;
} tokenize_state;

/* s->files is given. If the folder has a tokenize.json, checks that it was made with these options and reads the rest of *s;
 * else writes the file. */
status tokenize_state_open(tokenize_state *s, const tokenize_options *o);
status tokenize_state_write(const tokenize_state *s, const tokenize_options *o);

path_text tokenize_shard_path(const tokenize_options *o, i64 number);

#endif
