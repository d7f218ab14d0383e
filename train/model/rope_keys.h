/* The keys of RoPE in a Hugging Face config.json. Two spellings: "rope_theta" beside "rope_scaling" (transformers up to 4), and
 * all in "rope_parameters" (from 5). Where both objects are there, transformers 5.24 reads "rope_scaling" alone; a "rope_theta" in
 * the object comes before the one outside. */
#ifndef TALLY_ROPE_KEYS_H
#define TALLY_ROPE_KEYS_H

#include "layers/rope.h"

typedef struct json_t json_t;

/* DATA, with the key's name, for a value that is out of range, a type that is not implemented, or an unknown key in the
 * object. context: the model's, the default of "original_max_position_embeddings". path: for messages. */
status rope_keys_read(rope_scaling *r, json_t *json, const char *path, i64 context);
status rope_keys_check(const rope_scaling *r, const char *where); /* the ranges alone */
void rope_keys_write(json_t *json, const rope_scaling *r);        /* in the older spelling, which all versions read */

#endif
