/* What is worth a line of the log but may come a million times: the first few are kept as text, all are counted. */
#ifndef TALLY_NOTES_H
#define TALLY_NOTES_H

#include "runtime/status.h"
#include "runtime/tensor.h"

enum { NOTES_KEPT = 3 };

typedef struct {
    i64 count;
    char *first[NOTES_KEPT];
} notes;

status notes_add(notes *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
void notes_cut(notes *n, i64 count); /* forgets those behind the first `count` */
/* a line for each that is kept, "what: text", and one with the count of all where there are more */
void notes_log(const notes *n, const char *what);
void notes_free(notes *n);

#endif
