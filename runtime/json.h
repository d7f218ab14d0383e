/* Typed reading and writing of JSON over cJSON, for all files of ours and for foreign ones.
 *
 * `path` names the source in messages ("run/step-10/manifest.json: "step" is "ten", expected an integer"). Reading is
 * strict: a number that is no double, a name twice in one object, and anything behind the value are refused.
 *
 * Integers are JSON numbers with all of their digits, whatever their size. cJSON holds numbers as doubles, so an integer of
 * 2^53 or more keeps its digits in the item's valuestring; json_parse and json_read_file put them there. The getters of
 * integers also accept a string of decimal digits: versions before this one wrote large integers so. Print with json_print:
 * cJSON_Print rounds doubles to 15 digits. */
#ifndef TALLY_JSON_H
#define TALLY_JSON_H

#include <cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

/* More values than any file of ours or a model's holds: each takes cJSON 80 bytes, up to 40 times its text. The parsers below
 * refuse them. */
enum { JSON_MOST_VALUES = 1 << 20 };
bool json_too_many_values(const char *text, size_t bytes);

status json_parse(cJSON **json, const char *path, const char *text, size_t bytes); /* text[bytes] must be NUL */
status json_read_file(cJSON **json, const char *path);                             /* free with cJSON_Delete */

const cJSON *json_find(const cJSON *o, const char *key); /* NULL where absent or null: for what is optional */

/* Missing, null or of another type: fails with DATA, saying what was found and what expected. */
status json_get_i64(const cJSON *o, const char *path, const char *key, i64 *v);
status json_get_u64(const cJSON *o, const char *path, const char *key, uint64_t *v);
status json_get_double(const cJSON *o, const char *path, const char *key, double *v);
status json_get_bool(const cJSON *o, const char *path, const char *key, bool *v);
status json_get_string(const cJSON *o, const char *path, const char *key, char *out, size_t out_bytes);
status json_get_array(const cJSON *o, const char *path, const char *key, const cJSON **array);
status json_get_object(const cJSON *o, const char *path, const char *key, const cJSON **object);

status json_add_i64(cJSON *o, const char *key, i64 v);
status json_add_u64(cJSON *o, const char *key, uint64_t v);
status json_add_u128(cJSON *o, const char *key, u128 v);
status json_add_double(cJSON *o, const char *key, double v);         /* not finite: fails with NUMERIC */
status json_add_number_or_null(cJSON *o, const char *key, double v); /* not finite: null */
status json_add_bool(cJSON *o, const char *key, bool v);
status json_add_string(cJSON *o, const char *key, const char *v);

/* Doubles in the fewest digits that read back to the same bits. One line without a newline at its end (for .jsonl), or
 * indented with one. malloc'ed. */
typedef enum { JSON_ONE_LINE, JSON_INDENTED } json_style;
status json_print(char **text, const cJSON *json, json_style style);

#endif
