#include "train/data/json_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "runtime/json_outline.h"

bool json_text_blank(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (!memchr(" \t\r\n", text[i], 4)) return false;
    return true;
}

typedef struct {
    char text[4200];
} place_text;
static place_text where(json_text_place at) {
    place_text p;
    snprintf(p.text, sizeof p.text, at.element ? "%s: element %ld" : "%s:%ld", at.path, at.number);
    return p;
}

/* ---- an object ---- */

/* of an item of an outline, in which a string that begins with # is a number */
static const char *kind_of(const json_t *json) {
    const char *offset = json_string_value(json);
    return json_is_object(json)                     ? "an object"
           : json_is_array(json)                    ? "an array"
           : json_is_null(json)                     ? "null"
           : json_is_boolean(json)                  ? "a boolean"
           : json_is_number(json) || *offset == '#' ? "a number"
                                                    : "a string";
}

/* the first few keys, for a message: "id", "content" */
static void list_keys(char *out, size_t room, json_t *object) {
    enum { NAMED = 6 };
    size_t used = 0;
    int i = 0;
    const char *key;
    json_t *item;
    snprintf(out, room, "no keys");
    json_object_foreach(object, key, item) {
        if (i == NAMED) break;
        used += (size_t)snprintf(out + used, room - used, "%s\"%.40s\"", i++ ? ", " : "", key);
    }
    if (i < (int)json_object_size(object)) snprintf(out + used, room - used, ", ...");
}

/* offset: of the text in the JSON */
static status find_text(size_t *offset, json_t *tree, const char *key, json_text_place at) {
    char keys[512];
    if (!json_is_object(tree))
        FAIL(DATA, "%s: found %s, expected an object with a string \"%.80s\"", where(at).text, kind_of(tree), key);
    const json_t *item = json_object_get(tree, key);
    if (!item) {
        list_keys(keys, sizeof keys, tree);
        FAIL(DATA, "%s: found no key \"%.80s\" but %s; --text-key names the key of the text", where(at).text, key,
             keys);
    }
    if (!json_is_string(item) || *json_string_value(item) == '#')
        FAIL(DATA, "%s: found \"%.80s\" that is %s, expected a string", where(at).text, key, kind_of(item));
    *offset = strtoull(json_string_value(item), NULL, 10);
    return STATUS_OK;
}

status json_text_parse(json_t **tree, bool *is_json, char *json, size_t bytes, const char *key, json_text_place at) {
    *tree = NULL;
    *is_json = false;
    const char *nul = memchr(json, 0, bytes);
    if (nul) FAIL(DATA, "%s: found a NUL byte at column %ld, expected JSON", where(at).text, (nul - json) + 1);
    if (json_too_many_values(json, bytes))
        FAIL(DATA, "%s: holds more than %d JSON values, expected fewer", where(at).text, JSON_MOST_VALUES);
    json_fault fault;
    *tree = json_outline_load(json, bytes, &fault);
    if (!*tree && fault.no_memory) FAIL(MEM, "%s: no memory for %zu bytes of JSON", where(at).text, bytes);
    if (!*tree)
        FAIL(DATA, "%s: found no valid JSON at column %zu (%s), expected an object with a string \"%.80s\"",
             where(at).text, fault.at + 1, fault.reason, key);
    *is_json = true;
    return STATUS_OK;
}

status json_text_find(char **text, size_t *length, json_t *tree, char *json, const char *key, json_text_place at) {
    size_t offset = 0;
    TRY(find_text(&offset, tree, key, at));
    *length = json_outline_string(json + offset, json + offset);
    if (memchr(json + offset, 0, *length))
        FAIL(DATA, "%s: found \\u0000 in \"%.80s\", expected text without NUL", where(at).text, key);
    json[offset + *length] = 0;
    *text = json + offset;
    return STATUS_OK;
}

status json_text_get(const char **text, bool *is_json, char *json, size_t bytes, const char *key, json_text_place at) {
    json_t *tree;
    size_t length;
    char *found = NULL;
    *text = NULL;
    TRY(json_text_parse(&tree, is_json, json, bytes, key, at));
    status_code st = json_text_find(&found, &length, tree, json, key, at);
    json_decref(tree);
    TRY(st);
    *text = found;
    return STATUS_OK;
}

/* ---- an array ---- */

size_t json_text_array_next(json_text_array *a, const char *text, size_t bytes, size_t *element, bool *whole) {
    *element = 0;
    *whole = false;
    if (a->ended) {
        a->behind |= !json_text_blank(text, bytes);
        return bytes;
    }
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (a->in_string) {
            if (a->escaped) a->escaped = false;
            else if (c == '\\') a->escaped = true;
            else if (c == '"') a->in_string = false;
            continue;
        }
        if (c == '"') a->in_string = true;
        else if (c == '[' || c == '{') {
            if (a->depth++ == 0) return i + 1;               /* the array's own */
        } else if (c == ']' || (c == '}' && a->depth > 1)) { /* the parser of the element refuses an excess } */
            a->ended = --a->depth == 0;
        }
        if (a->ended || (c == ',' && a->depth == 1)) {
            *whole = true;
            *element = i;
            return i + 1;
        }
    }
    *element = a->depth ? bytes : 0;
    return bytes;
}
