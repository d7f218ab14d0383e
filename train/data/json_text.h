/* Documents in JSON: the string under a key of an object, and the elements of an array that is read in pieces. */
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

/* json[bytes] must be NUL. *text is decoded in place, which changes json. A lone surrogate (valid by RFC 8259) becomes U+FFFD;
 * bytes that are not UTF-8 are kept. DATA: not JSON (then *is_json is false), a key twice in one object, not an object, no
 * string under the key, or \u0000 in that string. */
status json_text_get(const char **text, bool *is_json, char *json, size_t bytes, const char *key, json_text_place at);

/* Its two halves. *tree: what json_text_find needs; free it with json_decref. Each key once: *text is decoded in place. */
typedef struct json_t json_t;
status json_text_parse(json_t **tree, bool *is_json, char *json, size_t bytes, const char *key, json_text_place at);
status json_text_find(char **text, size_t *length, json_t *tree, char *json, const char *key, json_text_place at);

/* Splits an array, from its '[' on. Initialise with zeros. A call reads up to `bytes` of text and returns how many it has read:
 * the first *element of them belong to the current element, which ends there if *whole. */
typedef struct {
    i64 depth;
    bool in_string, escaped;
    bool ended;  /* its ']' has been read */
    bool behind; /* followed by something other than white space */
} json_text_array;
size_t json_text_array_next(json_text_array *a, const char *text, size_t bytes, size_t *element, bool *whole);

bool json_text_blank(const char *text, size_t bytes);

#endif
