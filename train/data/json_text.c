#include "train/data/json_text.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"

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
    snprintf(p.text, sizeof p.text, at.element ? "%s: element %lld" : "%s:%lld", at.path, (long long)at.number);
    return p;
}

/* ---- escapes ---- */

/* not sscanf, which looks for the end of the whole line at each call */
static bool four_digits(const char *p, unsigned *code) {
    char digits[5] = {0};
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)p[i])) return false;
        digits[i] = p[i];
    }
    *code = (unsigned)strtoul(digits, NULL, 16);
    return true;
}

/* In place, for an escape is six bytes long whatever it stands for. cJSON refuses a lone surrogate, and its strings end at
 * a NUL: nul_digit, '1' or '2', makes \u0000 another control character. */
static void mend_escapes(char *json, char nul_digit) {
    unsigned code, other;
    for (char *p = json; (p = strchr(p, '\\'));) {
        if (p[1] != 'u' || !four_digits(p + 2, &code)) {
            p += p[1] ? 2 : 1;
            continue;
        }
        bool high = code >= 0xd800 && code < 0xdc00, low = code >= 0xdc00 && code < 0xe000;
        bool pair =
            high && p[6] == '\\' && p[7] == 'u' && four_digits(p + 8, &other) && other >= 0xdc00 && other < 0xe000;
        if (code == 0) p[5] = nul_digit;
        if (!pair && (high || low)) memcpy(p + 2, "fffd", 4);
        p += pair ? 12 : 6;
    }
}

/* whether the string was made from one with \u0000: then another stand-in for it gives another string */
static status holds_nul(bool *holds, const char *text, char *copy, size_t bytes, const char *key) {
    mend_escapes(copy, '2');
    cJSON *tree = cJSON_ParseWithLength(copy, bytes + 1);
    if (!tree) FAIL(MEM, "a line of %zu bytes", bytes);
    const char *other = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(tree, key));
    *holds = !other || strcmp(text, other) != 0; /* no other: it is in the key */
    cJSON_Delete(tree);
    return STATUS_OK;
}

/* ---- an object ---- */

static const char *kind_of(const cJSON *json) {
    return cJSON_IsObject(json)   ? "an object"
           : cJSON_IsArray(json)  ? "an array"
           : cJSON_IsString(json) ? "a string"
           : cJSON_IsNumber(json) ? "a number"
           : cJSON_IsNull(json)   ? "null"
                                  : "a boolean";
}

/* the first few keys, for a message: "id", "content" */
static void list_keys(char *out, size_t room, const cJSON *object) {
    enum { NAMED = 6 };
    size_t used = 0;
    int i = 0;
    const cJSON *item = object->child;
    snprintf(out, room, "no keys");
    for (; item && i < NAMED; item = item->next, i++)
        used += (size_t)snprintf(out + used, room - used, "%s\"%.40s\"", i ? ", " : "", item->string);
    if (item) snprintf(out + used, room - used, ", ...");
}

static status find_text(const char **text, const cJSON *tree, const char *key, json_text_place at) {
    char keys[512];
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, key);
    if (!cJSON_IsObject(tree))
        FAIL(DATA, "%s: found %s, expected an object with a string \"%.80s\"", where(at).text, kind_of(tree), key);
    list_keys(keys, sizeof keys, tree);
    if (!item)
        FAIL(DATA, "%s: found no key \"%.80s\" but %s; --text-key names the key of the text", where(at).text, key,
             keys);
    if (!cJSON_IsString(item))
        FAIL(DATA, "%s: found \"%.80s\" that is %s, expected a string", where(at).text, key, kind_of(item));
    *text = item->valuestring;
    return STATUS_OK;
}

status json_text_get(cJSON **tree, const char **text, char *json, size_t bytes, const char *key, json_text_place at) {
    *tree = NULL;
    *text = NULL;
    const char *end = json, *nul = memchr(json, 0, bytes);
    if (nul)
        FAIL(DATA, "%s: found a NUL byte at column %lld, expected JSON", where(at).text, (long long)(nul - json) + 1);
    if (json_too_many_values(json, bytes))
        FAIL(DATA, "%s: holds more than %d JSON values, expected fewer", where(at).text, JSON_MOST_VALUES);
    char *copy = NULL;
    if (strstr(json, "\\u0000") && !(copy = strdup(json))) FAIL(MEM, "%s: %zu bytes", where(at).text, bytes);
    mend_escapes(json, '1');
    *tree = cJSON_ParseWithLengthOpts(json, bytes + 1, &end, true);
    status_code st = STATUS_OK;
    if (!*tree)
        FAIL_DONE(DATA, "%s: found no valid JSON at column %lld, expected an object with a string \"%.80s\"",
                  where(at).text, (long long)(end - json) + 1, key);
    TRY_DONE(find_text(text, *tree, key, at));
    bool holds = false;
    if (copy) TRY_DONE(holds_nul(&holds, *text, copy, bytes, key));
    if (holds) FAIL_DONE(DATA, "%s: found \\u0000 in \"%.80s\", expected text without NUL", where(at).text, key);
done:
    free(copy);
    return st;
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
        } else if (c == ']' || (c == '}' && a->depth > 1)) { /* one } too many is left to the element's parser */
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
