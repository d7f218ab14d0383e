/* A document from several strings of a JSON object: text with {KEY} for the string under a key, such as
 * "Question: {question}\nAnswer: {answer}". {{ and }} stand for braces; \n, \t and \\ for newline, tab and backslash. */
#ifndef TALLY_JSON_TEMPLATE_H
#define TALLY_JSON_TEMPLATE_H

#include "train/data/json_text.h"

enum { JSON_TEMPLATE_KEYS = 64, JSON_TEMPLATE_PARTS = 256 };

typedef struct {
    char *name, *value;
    size_t bytes; /* of the value */
} json_template_key;

typedef struct {
    const char *text; /* literal text, or NULL */
    size_t bytes;     /* of it */
    int key;          /* whose value comes next, if `text` is NULL */
} json_template_part;

typedef struct {
    char *copy; /* the texts lie here */
    json_template_key keys[JSON_TEMPLATE_KEYS];
    json_template_part parts[JSON_TEMPLATE_PARTS];
    int key_count, count; /* of parts */
    char *filled;
    size_t capacity;
} json_template;

/* Initialise with zeros. ARG: another use of a brace or backslash, no key, or more keys or parts than the limits above. */
status json_template_parse(json_template *t, const char *text);
void json_template_free(json_template *t);

/* As json_text_get. *text is valid until the next call. DATA: one of the keys has no string. */
status json_template_fill(const char **text, bool *is_json, json_template *t, char *json, size_t bytes,
                          json_text_place at);

#endif
