#include "train/data/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/log.h"

status notes_add(notes *n, const char *format, ...) {
    if (n->count < NOTES_KEPT) {
        va_list args;
        va_start(args, format);
        int length = vasprintf(&n->first[n->count], format, args);
        va_end(args);
        if (length < 0) {
            n->first[n->count] = NULL;
            FAIL(MEM, "no memory for a line of the log");
        }
    }
    n->count++;
    return STATUS_OK;
}

void notes_cut(notes *n, i64 count) {
    for (i64 i = count; i < n->count && i < NOTES_KEPT; i++) {
        free(n->first[i]);
        n->first[i] = NULL;
    }
    n->count = count;
}

void notes_log(const notes *n, const char *what) {
    for (i64 i = 0; i < n->count && i < NOTES_KEPT; i++) log_line("%s: %s", what, n->first[i]);
    if (n->count > NOTES_KEPT) log_line("%s: %ld in all", what, n->count);
}

void notes_free(notes *n) { notes_cut(n, 0); }
