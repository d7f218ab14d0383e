/* Regular expressions that split text into words, with PCRE2.
 *
 * A pattern is written for Oniguruma, as `tokenizers` uses it, and translated to PCRE2, so that the two match alike: \s is
 * the property White_Space, \d the category Nd. Refused, because the two differ or a text could not be streamed: ^ $ . \b \w \h \R
 * \X \K and other rare escapes, properties other than categories, named groups, back references, lookbehind, nested sets, a{2}?,
 * letters in (?i: that may be one character, as ss and ß, and patterns that match the empty string. */
#ifndef TALLY_PATTERN_H
#define TALLY_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"

#define PATTERN_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

typedef struct pattern pattern; /* does not change once it is open: threads share it */

status pattern_open(pattern **p, const char *regex);        /* DATA: not a pattern, or one that is refused */
status pattern_open_literal(pattern **p, const char *text); /* the text itself, which is not empty */
void pattern_close(pattern *p);

typedef struct pattern_matcher pattern_matcher; /* of one thread */
status pattern_matcher_open(pattern_matcher **m, const pattern *p);
void pattern_matcher_close(pattern_matcher *m);

typedef struct {
    enum {
        PATTERN_NONE,   /* no match begins in the text; nor in its last bytes with what may follow */
        PATTERN_MATCH,  /* text[start] to text[end - 1] */
        PATTERN_PARTIAL /* only what follows decides the match that may begin at `start` */
    } kind;
    size_t start, end;
} pattern_found;

/* Finds the first match that begins at text[from] or later. text: `bytes` of valid UTF-8; `from` is where a character begins.
 * more: other text may follow. DATA: the match takes too many steps. */
status pattern_find(pattern_matcher *m, pattern_found *found, const char *text, size_t bytes, size_t from, bool more);

#endif
