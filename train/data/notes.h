/* Log lines that may occur a million times: the first few are kept, all are counted. */
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
void notes_cut(notes *n, i64 count); /* drops all after the first `count` */
/* logs a line "what: text" for each that is kept, and the total if there are more */
void notes_log(const notes *n, const char *what);
void notes_free(notes *n);

#endif
