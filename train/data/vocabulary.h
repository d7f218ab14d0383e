/* The tokens of a tokenizer: names and ids, both ways. A name is UTF-8; some files
 * have one with a NUL byte. */
#ifndef TALLY_VOCABULARY_H
#define TALLY_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

enum { VOCABULARY_MOST = 1 << 22 }; /* ids */

typedef struct {
    char *pool; /* the names, each with a NUL behind it */
    size_t used, capacity;
    size_t *starts;  /* [size]: offset of each name in the pool + 1; 0: no token has this id */
    uint32_t *bytes; /* [size]: the length of each name */
    i64 size;        /* the highest id + 1 */
    i64 room;        /* of `starts` and `bytes` */
    i64 count;       /* tokens */
    int32_t *table;  /* a hash table of ids, -1 where it is empty */
    size_t mask;     /* its size - 1 */
} vocabulary;        /* initialise with zeros */

/* DATA: the id or the name is taken, or the id is not 0 to VOCABULARY_MOST - 1 */
status vocabulary_add(vocabulary *v, i64 id, const char *name, size_t bytes);
void vocabulary_free(vocabulary *v);

int32_t vocabulary_find(const vocabulary *v, const char *name, size_t bytes); /* -1: there is none */
const char *vocabulary_name(const vocabulary *v, i64 id); /* ends with a NUL; NULL: no token has this id */
static inline size_t vocabulary_bytes(const vocabulary *v, i64 id) { return v->bytes[id]; }

#endif
