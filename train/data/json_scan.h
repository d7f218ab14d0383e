/* Reads JSON in one pass, without a tree: the vocabulary and the merges of a tokenizer have a million values. */
#ifndef TALLY_JSON_SCAN_H
#define TALLY_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct {
    const char *path; /* for messages */
    const char *text; /* text[bytes] is NUL */
    size_t bytes, at;
    char *room; /* for strings; json_scan_free */
    size_t room_bytes;
} json_scan;

void json_scan_free(json_scan *s);

char json_scan_peek(json_scan *s);             /* skips white space; the next character, which stays; NUL at the end */
status json_scan_expect(json_scan *s, char c); /* DATA if something else comes */
bool json_scan_take(json_scan *s, char c);     /* whether it comes; then it is read */
status json_scan_string(json_scan *s, size_t *bytes); /* to s->room, with a NUL behind; refuses what is not UTF-8 */
status json_scan_integer(json_scan *s, i64 *v);
status json_scan_skip(json_scan *s); /* a value: finds its end, and does not check more */

#endif
