/* Typed reading and writing of JSON with jansson.
 *
 * `path` names the source in messages (run/step-10/progress.json: "step" is "ten", expected an integer). Refused: a number
 * out of a double's range, a key twice in one object, \u0000, and anything after the value.
 *
 * An integer keeps all of its digits, whatever its size. jansson's integers have 64 bits; an integer that is longer, or that
 * was read with 19 digits or more, is stored as a string of a NUL and its digits. No other string contains a NUL. So use
 * the functions below, not jansson's json_is_string, json_is_integer and json_number_value. The getters of integers also
 * accept a string of decimal digits, as older versions wrote large integers. Print with json_print: jansson's own functions
 * print 3.0 for 3 and 0.10000000000000001 for 0.1. */
#ifndef TALLY_JSON_H
#define TALLY_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

/* More values than a configuration, a header or a line of metrics has. The parsers refuse more: each takes up to 40 times the
 * memory of its text. */
enum { JSON_MOST_VALUES = 1 << 20 };
bool json_too_many_values(const char *text, size_t bytes);

status json_parse(json_t **json, const char *path, const char *text, size_t bytes); /* text[bytes] must be NUL */
status json_read_file(json_t **json, const char *path); /* up to 16 MiB; free with json_decref */
status json_read_file_up_to(size_t most, json_t **json, const char *path);

json_t *json_find(const json_t *o, const char *key); /* for optional keys: NULL if the key is missing or null */
double json_number_or_nan(const json_t *item);       /* NAN if it is NULL or not a number; numbers are finite */
const char *json_string_or_null(const json_t *item); /* NULL if it is NULL or not a string */

/* Fail with DATA if the key is missing, null or of another type. */
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
status json_add_double(json_t *o, const char *key, double v);         /* fails with NUMERIC if v is not finite */
status json_add_number_or_null(json_t *o, const char *key, double v); /* null if v is not finite */
status json_add_bool(json_t *o, const char *key, bool v);
status json_add_string(json_t *o, const char *key, const char *v);
json_t *json_add_object(json_t *o, const char *key); /* an empty object; NULL: no memory, or `o` is NULL */
json_t *json_add_array(json_t *o, const char *key);
json_t *json_append_object(json_t *array); /* the same, at the end of an array */

/* Doubles are printed in the fewest digits that read back to the same bits. One line without a final newline (for .jsonl), or
 * indented with one. *text is malloc'ed. */
typedef enum { JSON_ONE_LINE, JSON_INDENTED } json_style;
status json_print(char **text, const json_t *json, json_style style);
/* Replaces the file (durable_write_file) by o, indented, and frees o. filled: the status of filling it; where that is an error, it is
 * returned and nothing is written. */
status json_write_file(json_t *o, status_code filled, const char *path);

#endif
