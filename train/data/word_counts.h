/* How often each word of a text occurs: a hash table of byte strings, each stored once. */
#ifndef TALLY_WORD_COUNTS_H
#define TALLY_WORD_COUNTS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct {
    const char *text; /* not NUL-terminated */
    uint32_t bytes, hash;
    i64 times;
} word_count;

typedef struct word_counts_chunk word_counts_chunk;

typedef struct {
    word_count *words; /* in the order in which they were first added */
    i64 count, room;
    uint32_t *table; /* index in `words` + 1; 0 where it is empty */
    size_t mask;     /* its size - 1 */
    word_counts_chunk *chunks;
} word_counts; /* initialise with zeros */

status word_counts_add(word_counts *w, const char *text, size_t bytes, i64 times); /* bytes: up to 4 GiB - 1 */
void word_counts_free(word_counts *w);

#endif
