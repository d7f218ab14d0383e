#include "runtime/json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/durable.h"
#include "runtime/file.h"
#include "runtime/json_outline.h"

enum { LARGEST_FILE = 16 << 20 };

static const double EXACT_LIMIT = 9007199254740992.0; /* 2^53: a double holds every integer below it */

/* ---- reading ---- */

static status syntax_error(const char *path, const char *text, size_t bytes, size_t at, const char *reason) {
    int line = 1, column = 1;
    for (size_t i = 0; i < at; i++) column = text[i] == '\n' ? line++, 1 : column + 1;
    char near[24];
    size_t n = 0;
    for (; n + 1 < sizeof near && at + n < bytes && text[at + n] != '\n'; n++)
        near[n] = text[at + n] >= 32 && text[at + n] < 127 ? text[at + n] : '?';
    near[n] = 0;
    if (at >= bytes)
        FAIL(DATA, "%s:%d:%d: found the end of the file, expected more JSON (%s)", path, line, column, reason);
    FAIL(DATA, "%s:%d:%d: found %s, expected JSON (%s)", path, line, column, n ? near : "the end of the line", reason);
}

bool json_too_many_values(const char *text, size_t bytes) {
    size_t values = 1;
    bool in_string = false;
    if (bytes < 2 * (size_t)JSON_MOST_VALUES) return false; /* a value takes at least one character and a separator */
    for (size_t i = 0; i < bytes; i++) {
        if (in_string && text[i] == '\\') i++;
        else if (text[i] == '"') in_string = !in_string;
        else if (!in_string) values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    }
    return values > JSON_MOST_VALUES;
}

/* Checks that neither the outline nor jansson makes: control characters, and numbers out of the range of doubles. */
static status check_text(const char *path, const char *text, size_t bytes) {
    bool in_string = false;
    if (json_too_many_values(text, bytes))
        FAIL(DATA, "%s: holds more than %d JSON values, expected fewer", path, JSON_MOST_VALUES);
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if ((unsigned char)c < 32 && c != '\t' && c != '\n' && c != '\r')
            return syntax_error(path, text, bytes, i, "control character");
        if (in_string && c == '\\' && (text[i + 1] == '"' || text[i + 1] == '\\')) i++;
        else if (c == '"') in_string = !in_string;
        if (in_string) continue;
        if (c != '-' && !isdigit((unsigned char)c)) continue;
        size_t length = strspn(text + i, "+-.0123456789eE");
        errno = 0;
        double v = strtod(text + i, NULL);
        if (errno == ERANGE && (v == 0 || isinf(v)))
            FAIL(DATA, "%s: the number %.*s is too %s for a double", path, length < 40 ? (int)length : 40, text + i,
                 v == 0 ? "small" : "large");
        i += length - 1;
    }
    return STATUS_OK;
}

/* Fills in the strings of the tree of an outline. jansson limits the depth of the recursion to 2048. */
static status fill_strings(json_t *item, const char *path, const char *text, char *room) {
    const char *name;
    json_t *child;
    size_t i, length;
    if (json_is_object(item)) json_object_foreach(item, name, child) TRY(fill_strings(child, path, text, room));
    json_array_foreach(item, i, child) TRY(fill_strings(child, path, text, room));
    if (!json_is_string(item)) return STATUS_OK;
    const char *offset = json_string_value(item);
    const char *from = text + strtoull(offset + (*offset == '#'), NULL, 10);
    if (*offset == '#') {
        length = 1 + strspn(from, "-0123456789");
        room[0] = 0;
        memcpy(room + 1, from, length - 1);
    } else {
        length = json_outline_string(room, from);
        if (memchr(room, 0, length)) FAIL(DATA, "%s: found \\u0000 in a string, expected text without NUL", path);
    }
    if (json_string_setn_nocheck(item, room, length))
        FAIL(MEM, "%s: no memory for a string of %zu bytes", path, length);
    return STATUS_OK;
}

status json_parse(json_t **json, const char *path, const char *text, size_t bytes) {
    *json = NULL;
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) text += 3, bytes -= 3; /* a byte-order mark */
    TRY(check_text(path, text, bytes));
    json_fault fault;
    json_t *parsed = json_outline_load(text, bytes, &fault);
    if (!parsed && fault.no_memory) FAIL(MEM, "%s: no memory for %zu bytes of JSON", path, bytes);
    if (!parsed) return syntax_error(path, text, bytes, fault.at, fault.reason);
    char *room = malloc(bytes + 2);
    status_code st = room ? fill_strings(parsed, path, text, room) : ERROR(MEM, "%s: no memory for strings", path);
    free(room);
    if (st == STATUS_OK) *json = parsed;
    else json_decref(parsed);
    return st;
}

status json_read_file_up_to(size_t most, json_t **json, const char *path) {
    *json = NULL;
    char *text;
    size_t bytes;
    TRY(file_read_up_to(most, path, &text, &bytes));
    status_code st = json_parse(json, path, text, bytes);
    free(text);
    return st;
}

status json_read_file(json_t **json, const char *path) { return json_read_file_up_to(LARGEST_FILE, json, path); }

json_t *json_find(const json_t *o, const char *key) {
    json_t *item = json_object_get(o, key);
    return json_is_null(item) ? NULL : item;
}

/* the digits of an integer that is stored as a string; NULL: it is another item */
static const char *long_digits(const json_t *item) {
    if (!json_is_string(item) || json_string_length(item) < 2) return NULL;
    const char *text = json_string_value(item);
    return *text ? NULL : text + 1;
}

double json_number_or_nan(const json_t *item) {
    const char *digits = long_digits(item);
    if (digits) return strtod(digits, NULL);
    return json_is_number(item) ? json_number_value(item) : NAN;
}

const char *json_string_or_null(const json_t *item) { return long_digits(item) ? NULL : json_string_value(item); }

static void print_double(char text[32], double v) {
    if (v == trunc(v) && fabs(v) < EXACT_LIMIT) {
        snprintf(text, 32, "%.0f", v);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, v);
        if (strtod(text, NULL) == v) return;
    }
}

static status_code wrong(const json_t *o, const char *path, const char *key, const char *expected) {
    const json_t *item = json_object_get(o, key);
    char found[64] = "missing";
    if (long_digits(item)) snprintf(found, sizeof found, "%.60s", long_digits(item));
    else if (json_is_integer(item)) snprintf(found, sizeof found, "%" JSON_INTEGER_FORMAT, json_integer_value(item));
    else if (json_is_real(item)) print_double(found, json_real_value(item));
    else if (json_is_string(item)) snprintf(found, sizeof found, "\"%.40s\"", json_string_value(item));
    else if (item)
        snprintf(found, sizeof found, "%s",
                 json_is_null(item)    ? "null"
                 : json_is_true(item)  ? "true"
                 : json_is_false(item) ? "false"
                 : json_is_array(item) ? "an array"
                                       : "an object");
    FAIL(DATA, "%s: \"%s\" is %s, expected %s", path, key, found, expected);
}

/* The digits of an integer, after a minus sign if `negative` allows it; "" if it is not an integer. room: for the result */
static const char *decimal(const json_t *item, char room[32], bool negative) {
    const char *text = long_digits(item) ? long_digits(item) : json_string_value(item);
    double v = json_real_value(item); /* 0 if it is not a real */
    if (json_is_real(item) && fabs(v) < EXACT_LIMIT && v == trunc(v)) snprintf(room, 32, "%.0f", v + 0.0);
    else if (json_is_integer(item)) snprintf(room, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(item));
    else if (!text) return "";
    if (!text) text = room;
    const char *digits = text + (negative && *text == '-');
    return digits[0] && digits[strspn(digits, "0123456789")] == 0 ? text : "";
}

status json_get_i64(const json_t *o, const char *path, const char *key, i64 *v) {
    char room[32];
    const char *digits = decimal(json_object_get(o, key), room, true);
    if (!*digits) return wrong(o, path, key, "an integer");
    errno = 0;
    long long parsed = strtoll(digits, NULL, 10);
    if (errno) return wrong(o, path, key, "an integer of 64 bits");
    *v = parsed;
    return STATUS_OK;
}

status json_get_u64(const json_t *o, const char *path, const char *key, uint64_t *v) {
    char room[32];
    const char *digits = decimal(json_object_get(o, key), room, false);
    if (!*digits) return wrong(o, path, key, "an integer of 0 or more");
    errno = 0;
    unsigned long long parsed = strtoull(digits, NULL, 10);
    if (errno) return wrong(o, path, key, "an integer of 64 bits");
    *v = parsed;
    return STATUS_OK;
}

status json_get_double(const json_t *o, const char *path, const char *key, double *v) {
    double found = json_number_or_nan(json_object_get(o, key));
    if (isnan(found)) return wrong(o, path, key, "a number");
    *v = found;
    return STATUS_OK;
}

status json_get_bool(const json_t *o, const char *path, const char *key, bool *v) {
    const json_t *item = json_object_get(o, key);
    if (!json_is_boolean(item)) return wrong(o, path, key, "true or false");
    *v = json_is_true(item);
    return STATUS_OK;
}

status json_get_string(const json_t *o, const char *path, const char *key, char *out, size_t out_bytes) {
    const char *text = json_string_or_null(json_object_get(o, key));
    if (!text) return wrong(o, path, key, "a string");
    size_t length = strlen(text);
    if (length >= out_bytes)
        FAIL(DATA, "%s: \"%s\" is %zu characters long, expected at most %zu", path, key, length, out_bytes - 1);
    memcpy(out, text, length + 1);
    return STATUS_OK;
}

status json_get_array(const json_t *o, const char *path, const char *key, json_t **array) {
    *array = json_object_get(o, key);
    return json_is_array(*array) ? STATUS_OK : wrong(o, path, key, "an array");
}

status json_get_object(const json_t *o, const char *path, const char *key, json_t **object) {
    *object = json_object_get(o, key);
    return json_is_object(*object) ? STATUS_OK : wrong(o, path, key, "an object");
}

/* ---- writing ---- */

/* The nocheck functions: strings may be names of files, which need not be UTF-8. */
static status add(json_t *o, const char *key, json_t *item) {
    if (json_object_set_new_nocheck(o, key, item)) FAIL(MEM, "no memory for the JSON key \"%s\"", key);
    return STATUS_OK;
}

status json_add_i64(json_t *o, const char *key, i64 v) { return add(o, key, json_integer(v)); }

status json_add_u64(json_t *o, const char *key, uint64_t v) { return json_add_u128(o, key, v); }

status json_add_u128(json_t *o, const char *key, u128 v) {
    char text[48], *first = text + sizeof text;
    if (v <= INT64_MAX) return json_add_i64(o, key, (i64)v);
    for (; v; v /= 10) *--first = (char)('0' + (int)(v % 10));
    *--first = 0;
    return add(o, key, json_stringn_nocheck(first, (size_t)(text + sizeof text - first)));
}

status json_add_double(json_t *o, const char *key, double v) {
    if (!isfinite(v)) FAIL(NUMERIC, "\"%s\" is %g, expected a finite number", key, v);
    return add(o, key, json_real(v));
}

status json_add_number_or_null(json_t *o, const char *key, double v) {
    return add(o, key, isfinite(v) ? json_real(v) : json_null());
}

status json_add_bool(json_t *o, const char *key, bool v) { return add(o, key, json_boolean(v)); }

status json_add_string(json_t *o, const char *key, const char *v) { return add(o, key, json_string_nocheck(v)); }

static json_t *add_container(json_t *o, const char *key, json_t *item) {
    return json_object_set_new_nocheck(o, key, item) ? NULL : item;
}

json_t *json_add_object(json_t *o, const char *key) { return add_container(o, key, json_object()); }

json_t *json_add_array(json_t *o, const char *key) { return add_container(o, key, json_array()); }

json_t *json_append_object(json_t *array) {
    json_t *item = json_object();
    return json_array_append_new(array, item) ? NULL : item;
}

/* ---- printing ---- */

static void print_string(FILE *out, const char *s) {
    fputc('"', out);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
        else if (*s == '\n') fputs("\\n", out);
        else if ((unsigned char)*s < 32) fprintf(out, "\\u%04x", (unsigned char)*s);
        else fputc(*s, out);
    }
    fputc('"', out);
}

static bool holds_containers(const json_t *array) {
    size_t i;
    const json_t *child;
    json_array_foreach(array, i, child) if (json_is_object(child) || json_is_array(child)) return true;
    return false;
}

static void new_line(FILE *out, int indent) { fprintf(out, "\n%*s", indent * 2, ""); }

static void print_item(FILE *out, json_t *item, int indent);

/* name: NULL for an element of an array. first: of its container. lines: one member a line */
static void print_member(FILE *out, const char *name, json_t *item, bool first, bool lines, int indent) {
    if (!first) fputs(indent >= 0 && !lines ? ", " : ",", out);
    if (lines) new_line(out, indent + 1);
    if (name) print_string(out, name), fputs(indent >= 0 ? ": " : ":", out);
    print_item(out, item, lines ? indent + 1 : -1);
}

/* indent: depth, or -1 on one line */
static void print_item(FILE *out, json_t *item, int indent) {
    bool object = json_is_object(item), first = true;
    const char *name;
    size_t i;
    json_t *child;
    if (object || json_is_array(item)) {
        bool lines = indent >= 0 && (object ? json_object_size(item) > 0 : holds_containers(item));
        fputc(object ? '{' : '[', out);
        if (object)
            json_object_foreach(item, name, child) print_member(out, name, child, first, lines, indent), first = false;
        json_array_foreach(item, i, child) print_member(out, NULL, child, i == 0, lines, indent);
        if (lines) new_line(out, indent);
        fputc(object ? '}' : ']', out);
    } else if (long_digits(item)) {
        fputs(long_digits(item), out);
    } else if (json_is_string(item)) {
        print_string(out, json_string_value(item));
    } else if (json_is_integer(item)) {
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(item));
    } else if (json_is_real(item)) {
        char number[32];
        print_double(number, json_real_value(item));
        fputs(number, out);
    } else {
        fputs(json_is_null(item) ? "null" : json_is_true(item) ? "true" : "false", out);
    }
}

status json_print(char **text, const json_t *json, json_style style) {
    *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(text, &bytes);
    if (!out) FAIL(MEM, "no memory to print JSON");
    print_item(out, (json_t *)json, style == JSON_INDENTED ? 0 : -1); /* jansson iterates non-const objects only */
    if (style == JSON_INDENTED) fputc('\n', out);
    bool failed = ferror(out);
    if (fclose(out) || failed) {
        free(*text);
        *text = NULL;
        FAIL(MEM, "no memory to print JSON");
    }
    return STATUS_OK;
}

status json_write_file(json_t *o, status_code filled, const char *path) {
    char *text = NULL;
    status_code st = filled ? filled : json_print(&text, o, JSON_INDENTED);
    if (!st) st = durable_write_file(path, text, strlen(text));
    free(text);
    json_decref(o);
    return st;
}
