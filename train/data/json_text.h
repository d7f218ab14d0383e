/* Documents in JSON: the text that an object holds under a key, and the elements of an array that comes in pieces. */
#ifndef TALLY_JSON_TEXT_H
#define TALLY_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

/* for messages: "a.jsonl:7", "a.json: element 7" */
typedef struct {
    const char *path;
    bool element;
    i64 number; /* from 1 */
} json_text_place;

/* json[bytes] is NUL; json is changed: *text is decoded in place. Half of a surrogate pair that lacks the other (valid by
 * RFC 8259) becomes U+FFFD; bytes that are not UTF-8 stay. DATA: not JSON (then *is_json is false), a name twice in an
 * object, no object, no string under the key, or a string with a NUL; the message names the place and what was found. */
status json_text_get(const char **text, bool *is_json, char *json, size_t bytes, const char *key, json_text_place at);

/* An array from its '[' on, zeroed at first. A call looks at up to `bytes` of text and returns at how many: the first
 * *element of these belong to the element under way, which ends with them where *whole. */
typedef struct {
    i64 depth;
    bool in_string, escaped;
    bool ended;  /* its ']' has come */
    bool behind; /* and more than blanks behind it */
} json_text_array;
size_t json_text_array_next(json_text_array *a, const char *text, size_t bytes, size_t *element, bool *whole);

bool json_text_blank(const char *text, size_t bytes);

#endif
