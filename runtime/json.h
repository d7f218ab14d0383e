/* Typed reading and writing of JSON over jansson, for all files of this program and for foreign ones.
 *
 * `path` names the source in messages ("run/step-10/manifest.json: "step" is "ten", expected an integer"). Reading is
 * strict: a number that a double cannot hold, a name twice in one object, and anything behind the value are refused.
 *
 * An integer keeps all of its digits, whatever its size. One that jansson's 64 bits do not hold is a string in the tree: a
 * NUL and its digits (no other string holds a NUL). So read numbers and strings by the functions below, not by jansson's
 * json_is_string and json_number_value. The getters of integers also accept a string of decimal digits: versions before
 * this one wrote large integers so. Print with json_print: jansson prints 3.0 as 3.0 and 0.1 as 0.10000000000000001. */
#ifndef TALLY_JSON_H
#define TALLY_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

/* More values than any file of ours or a model's holds: each takes up to 40 times its text. The parsers refuse them. */
enum { JSON_MOST_VALUES = 1 << 20 };
bool json_too_many_values(const char *text, size_t bytes);

status json_parse(json_t **json, const char *path, const char *text, size_t bytes); /* text[bytes] must be NUL */
status json_read_file(json_t **json, const char *path);                             /* free with json_decref */

json_t *json_find(const json_t *o, const char *key); /* NULL where absent or null: for what is optional */
double json_number_or_nan(const json_t *item);       /* NAN where it is not a number, or NULL; numbers are finite */
const char *json_string_or_null(const json_t *item); /* NULL where it is not a string, or NULL */

/* Missing, null or of another type: fails with DATA, saying what was found and what expected. */
status json_get_i64(const json_t *o, const char *path, const char *key, i64 *v);
status json_get_u64(const json_t *o, const char *path, const char *key, uint64_t *v);
status json_get_double(const json_t *o, const char *path, const char *key, double *v);
status json_get_bool(const json_t *o, const char *path, const char *key, bool *v);
status json_get_string(const json_t *o, const char *path, const char *key, char *out, size_t out_bytes);
status json_get_array(const json_t *o, const char *path, const char *key, json_t **array);
status json_get_object(const json_t *o, const char *path, const char *key, json_t **object);

status json_add_i64(json_t *o, const char *key, i64 v);
status json_add_u64(json_t *o, const char *key, uint64_t v);
status json_add_u128(json_t *o, const char *key, u128 v);
status json_add_double(json_t *o, const char *key, double v);         /* not finite: fails with NUMERIC */
status json_add_number_or_null(json_t *o, const char *key, double v); /* not finite: null */
status json_add_bool(json_t *o, const char *key, bool v);
status json_add_string(json_t *o, const char *key, const char *v);
json_t *json_add_object(json_t *o, const char *key); /* an empty one; NULL: no memory, or `o` is NULL */
json_t *json_add_array(json_t *o, const char *key);

/* Doubles in the fewest digits that read back to the same bits. One line without a newline at its end (for .jsonl), or
 * indented with one. malloc'ed. */
typedef enum { JSON_ONE_LINE, JSON_INDENTED } json_style;
status json_print(char **text, const json_t *json, json_style style);

#endif
