/* JSON text -> a tree of jansson whose string values are not read yet.
 *
 * jansson reads the structure, the names and the numbers. It does not read these, so this does:
 *   - integers of more than 63 bits: jansson refuses them;
 *   - bytes that are not UTF-8, in corpora and in the names of files, and half of a surrogate pair (valid by RFC 8259);
 *   - long strings at the speed of memory: jansson reads 80 MB/s, which would halve the speed of loading a corpus.
 * jansson gets an outline of the text: each string value is replaced by the offset of its contents, "17", and each integer
 * of 19 digits or more, and -0, by '#' and its offset, "#17". Names of members stay as they are. */
#ifndef TALLY_JSON_OUTLINE_H
#define TALLY_JSON_OUTLINE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct json_t json_t;

typedef struct {
    size_t at;       /* where in the text; `bytes`: at its end */
    bool no_memory;  /* rather than text that is not JSON */
    char reason[80]; /* jansson's words */
} json_fault;

/* text[bytes] is NUL, the only one. NULL: see *fault. A name twice in one object is a fault. */
json_t *json_outline_load(const char *text, size_t bytes, json_fault *fault);

/* Decodes the string whose contents begin at `contents` into `out`, which may be `contents`, and returns its length. A lone
 * surrogate becomes U+FFFD, \u0000 becomes a NUL. */
size_t json_outline_string(char *out, const char *contents);

#endif
