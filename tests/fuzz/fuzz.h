/* Fuzz harnesses: a fuzz_NAME.c for each reader of foreign files. Built two ways: with driver.c as a test, which runs the
 * seeds and a fixed number of mutations of them, the same every time; and by run.sh with clang's libFuzzer for as long as is
 * wanted. A harness aborts where the reader breaks a promise; the sanitizers find the rest. */
#ifndef TALLY_FUZZ_H
#define TALLY_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/status.h"

/* of each harness */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
typedef struct {
    char *data; /* malloc'ed */
    size_t bytes;
} fuzz_input;
enum { FUZZ_SEEDS = 32 };
int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]); /* returns how many */

#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: broken: %s (%s)\n", __FILE__, __LINE__, #condition, status_message());             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline void fuzz_either(status_code st) { (void)st; } /* accepted or refused: both are right */

/* A folder of this process's own, removed when it ends well. The log is silent from the first call on. */
const char *fuzz_folder(void);
const char *fuzz_path(const char *name); /* in it; of the last few calls */
void fuzz_put(const char *name, const void *data, size_t bytes);

/* An input of several files: pieces with FUZZ_CUT between them. */
#define FUZZ_CUT "\xff\x01\xff"
typedef struct {
    const uint8_t *data;
    size_t bytes;
} fuzz_piece;
bool fuzz_next(fuzz_piece *rest, fuzz_piece *piece); /* false: there is none left */
/* A piece a file; `names` ends with NULL. A file for which no piece is left is not written. */
void fuzz_put_all(fuzz_piece rest, const char *const *names);
/* Seeds: a text; `head` and behind it the contents of the files, whose `paths` end with NULL. */
fuzz_input fuzz_text(const char *text);
fuzz_input fuzz_files(const char *head, const char *const *paths);

#endif
