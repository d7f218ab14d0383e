#include "runtime/json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"

enum { LARGEST_FILE = 16 << 20 };

static const double EXACT_LIMIT = 9007199254740992.0; /* 2^53: integers below it are doubles of their own */

/* ---- reading ---- */

static status syntax_error(const char *path, const char *text, size_t bytes, size_t at) {
    int line = 1, column = 1;
    for (size_t i = 0; i < at; i++) column = text[i] == '\n' ? line++, 1 : column + 1;
    char near[24];
    size_t n = 0;
    for (; n + 1 < sizeof near && at + n < bytes && text[at + n] != '\n'; n++)
        near[n] = text[at + n] >= 32 && text[at + n] < 127 ? text[at + n] : '?';
    near[n] = 0;
    if (at >= bytes) FAIL(DATA, "%s:%d:%d: found the end, expected more JSON", path, line, column);
    FAIL(DATA, "%s:%d:%d: found %s, expected JSON", path, line, column, n ? near : "the end of the line");
}

bool json_too_many_values(const char *text, size_t bytes) {
    size_t values = 1;
    bool in_string = false;
    if (bytes < 2 * (size_t)JSON_MOST_VALUES)
        return false; /* a value takes a character and what parts it from the next */
    for (size_t i = 0; i < bytes; i++) {
        if (in_string && text[i] == '\\') i++;
        else if (text[i] == '"') in_string = !in_string;
        else if (!in_string) values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    }
    return values > JSON_MOST_VALUES;
}

/* What cJSON takes in silence: control characters (for space) and numbers too small for a double (for 0). */
static status check_text(const char *path, const char *text, size_t bytes) {
    bool in_string = false;
    if (json_too_many_values(text, bytes))
        FAIL(DATA, "%s: holds more than %d JSON values, expected fewer", path, JSON_MOST_VALUES);
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if ((unsigned char)c < 32 && c != '\t' && c != '\n' && c != '\r') return syntax_error(path, text, bytes, i);
        if (in_string && c == '\\' && (text[i + 1] == '"' || text[i + 1] == '\\')) i++;
        else if (c == '"') in_string = !in_string;
        if (in_string) continue;
        if (c != '-' && !isdigit((unsigned char)c)) continue;
        size_t length = strspn(text + i, "+-.0123456789eE");
        errno = 0;
        if (strtod(text + i, NULL) == 0 && errno == ERANGE)
            FAIL(DATA, "%s: %.*s is too small a number, expected a double", path, length < 40 ? (int)length : 40,
                 text + i);
        i += length - 1;
    }
    return STATUS_OK;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static status check_names_differ(const cJSON *o, const char *path) {
    int count = cJSON_GetArraySize(o), n = 0;
    if (count < 2) return STATUS_OK;
    const char **names = malloc((size_t)count * sizeof *names);
    if (!names) FAIL(MEM, "%s: no memory for %d names", path, count);
    for (const cJSON *item = o->child; item; item = item->next) names[n++] = item->string;
    qsort(names, (size_t)count, sizeof *names, compare_names);
    status_code st = STATUS_OK;
    for (int i = 1; i < count; i++)
        if (!strcmp(names[i - 1], names[i]))
            FAIL_DONE(DATA, "%s: \"%s\" is there twice, expected once", path, names[i]);
done:
    free(names);
    return st;
}

/* What cJSON lets pass. The recursion is bounded by cJSON's own limit of nesting. */
static status check_tree(const cJSON *item, const char *path) {
    if (cJSON_IsNumber(item) && !isfinite(item->valuedouble))
        FAIL(DATA, "%s: %s%s%s is too large a number, expected a double", path, item->string ? "\"" : "",
             item->string ? item->string : "an element", item->string ? "\"" : "");
    if (cJSON_IsObject(item)) TRY(check_names_differ(item, path));
    if (cJSON_IsObject(item) || cJSON_IsArray(item))
        for (const cJSON *child = item->child; child; child = child->next) TRY(check_tree(child, path));
    return STATUS_OK;
}

/* The number items of the tree from `item` on, in the order of the text: those that are integers too large for a double get
 * their digits. *at is where the scan of the text stands. */
static status keep_digits(cJSON *item, const char *path, const char **at) {
    for (; item; item = item->next) {
        if (item->child) TRY(keep_digits(item->child, path, at));
        if (!cJSON_IsNumber(item)) continue;
        const char *p = *at;
        for (; *p != '-' && !isdigit((unsigned char)*p); p++) { /* to the next number outside of strings */
            if (*p != '"') continue;
            for (p++; *p != '"'; p++) p += *p == '\\';
        }
        size_t length = strspn(p, "+-.0123456789eE"), digits = strspn(p + (*p == '-'), "0123456789") + (*p == '-');
        *at = p + length;
        if (digits != length || fabs(item->valuedouble) < EXACT_LIMIT) continue;
        item->valuestring = strndup(p, length);
        if (!item->valuestring) FAIL(MEM, "%s: no memory for a number of %zu digits", path, length);
    }
    return STATUS_OK;
}

status json_parse(cJSON **json, const char *path, const char *text, size_t bytes) {
    *json = NULL;
    TRY(check_text(path, text, bytes));
    const char *end = text;
    cJSON *parsed = cJSON_ParseWithLengthOpts(text, bytes + 1, &end, true);
    if (!parsed) return syntax_error(path, text, bytes, (size_t)(end - text));
    status_code st = check_tree(parsed, path);
    if (!st) st = keep_digits(parsed, path, &text);
    if (st == STATUS_OK) *json = parsed;
    else cJSON_Delete(parsed);
    return st;
}

status json_read_file(cJSON **json, const char *path) {
    *json = NULL;
    char *text;
    size_t bytes;
    TRY(file_read_up_to(LARGEST_FILE, path, &text, &bytes));
    status_code st = json_parse(json, path, text, bytes);
    free(text);
    return st;
}

const cJSON *json_find(const cJSON *o, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

static void print_number(char text[32], double v) {
    if (v == trunc(v) && fabs(v) < EXACT_LIMIT) {
        snprintf(text, 32, "%.0f", v);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, v);
        if (strtod(text, NULL) == v) return;
    }
}

static status_code wrong(const cJSON *o, const char *path, const char *key, const char *expected) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    char found[64] = "missing";
    if (cJSON_IsNumber(item) && item->valuestring) snprintf(found, sizeof found, "%.60s", item->valuestring);
    else if (cJSON_IsNumber(item)) print_number(found, item->valuedouble);
    else if (cJSON_IsString(item)) snprintf(found, sizeof found, "\"%.40s\"", item->valuestring);
    else if (item)
        snprintf(found, sizeof found, "%s",
                 cJSON_IsNull(item)     ? "null"
                 : cJSON_IsTrue(item)   ? "true"
                 : cJSON_IsFalse(item)  ? "false"
                 : cJSON_IsArray(item)  ? "an array"
                 : cJSON_IsObject(item) ? "an object"
                                        : "unknown");
    FAIL(DATA, "%s: \"%s\" is %s, expected %s", path, key, found, expected);
}

static bool is_exact_integer(const cJSON *item) {
    return cJSON_IsNumber(item) && fabs(item->valuedouble) < EXACT_LIMIT &&
           item->valuedouble == trunc(item->valuedouble);
}

/* A number that keeps its digits, or a string of digits; with a sign where negative may be. */
static bool is_decimal(const cJSON *item, bool negative) {
    if (!item || !item->valuestring) return false;
    const char *digits = item->valuestring + (negative && item->valuestring[0] == '-');
    return digits[0] && strspn(digits, "0123456789") == strlen(digits);
}

status json_get_i64(const cJSON *o, const char *path, const char *key, i64 *v) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    if (is_exact_integer(item)) {
        *v = (i64)item->valuedouble;
        return STATUS_OK;
    }
    if (!is_decimal(item, true)) return wrong(o, path, key, "an integer");
    errno = 0;
    long long parsed = strtoll(item->valuestring, NULL, 10);
    if (errno) return wrong(o, path, key, "an integer of 64 bits");
    *v = parsed;
    return STATUS_OK;
}

status json_get_u64(const cJSON *o, const char *path, const char *key, uint64_t *v) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    if (is_exact_integer(item) && item->valuedouble >= 0) {
        *v = (uint64_t)item->valuedouble;
        return STATUS_OK;
    }
    if (!is_decimal(item, false)) return wrong(o, path, key, "an integer of 0 or more");
    errno = 0;
    unsigned long long parsed = strtoull(item->valuestring, NULL, 10);
    if (errno) return wrong(o, path, key, "an integer of 64 bits");
    *v = parsed;
    return STATUS_OK;
}

status json_get_double(const cJSON *o, const char *path, const char *key, double *v) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!cJSON_IsNumber(item)) return wrong(o, path, key, "a number");
    *v = item->valuedouble;
    return STATUS_OK;
}

status json_get_bool(const cJSON *o, const char *path, const char *key, bool *v) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!cJSON_IsBool(item)) return wrong(o, path, key, "true or false");
    *v = cJSON_IsTrue(item);
    return STATUS_OK;
}

status json_get_string(const cJSON *o, const char *path, const char *key, char *out, size_t out_bytes) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!cJSON_IsString(item)) return wrong(o, path, key, "a string");
    size_t length = strlen(item->valuestring);
    if (length >= out_bytes)
        FAIL(DATA, "%s: \"%s\" is %zu characters long, expected at most %zu", path, key, length, out_bytes - 1);
    memcpy(out, item->valuestring, length + 1);
    return STATUS_OK;
}

status json_get_array(const cJSON *o, const char *path, const char *key, const cJSON **array) {
    *array = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsArray(*array) ? STATUS_OK : wrong(o, path, key, "an array");
}

status json_get_object(const cJSON *o, const char *path, const char *key, const cJSON **object) {
    *object = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsObject(*object) ? STATUS_OK : wrong(o, path, key, "an object");
}

/* ---- writing ---- */

static status added(const cJSON *item, const char *key) {
    if (!item) FAIL(MEM, "no memory for the JSON key \"%s\"", key);
    return STATUS_OK;
}

static status add_integer(cJSON *o, const char *key, bool negative, u128 magnitude) {
    char digits[48], *first = digits + sizeof digits;
    double value = (double)magnitude;
    cJSON *item = cJSON_AddNumberToObject(o, key, negative ? -value : value);
    TRY(added(item, key));
    if (value < EXACT_LIMIT) return STATUS_OK;
    *--first = 0;
    for (; magnitude; magnitude /= 10) *--first = (char)('0' + (int)(magnitude % 10));
    if (negative) *--first = '-';
    item->valuestring = strdup(first);
    return item->valuestring ? STATUS_OK : added(NULL, key);
}

status json_add_i64(cJSON *o, const char *key, i64 v) { return add_integer(o, key, v < 0, v < 0 ? -(u128)v : (u128)v); }

status json_add_u64(cJSON *o, const char *key, uint64_t v) { return add_integer(o, key, false, v); }

status json_add_u128(cJSON *o, const char *key, u128 v) { return add_integer(o, key, false, v); }

status json_add_double(cJSON *o, const char *key, double v) {
    if (!isfinite(v)) FAIL(NUMERIC, "\"%s\" is %g, expected a finite number", key, v);
    return added(cJSON_AddNumberToObject(o, key, v), key);
}

status json_add_number_or_null(cJSON *o, const char *key, double v) {
    return added(isfinite(v) ? cJSON_AddNumberToObject(o, key, v) : cJSON_AddNullToObject(o, key), key);
}

status json_add_bool(cJSON *o, const char *key, bool v) { return added(cJSON_AddBoolToObject(o, key, v), key); }

status json_add_string(cJSON *o, const char *key, const char *v) {
    return added(cJSON_AddStringToObject(o, key, v), key);
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

static bool holds_containers(const cJSON *item) {
    for (const cJSON *child = item->child; child; child = child->next)
        if (cJSON_IsObject(child) || cJSON_IsArray(child)) return true;
    return false;
}

static void new_line(FILE *out, int indent) { fprintf(out, "\n%*s", indent * 2, ""); }

/* indent: depth, or -1 on one line */
static void print_item(FILE *out, const cJSON *item, int indent) {
    char number[32];
    if (cJSON_IsObject(item) || cJSON_IsArray(item)) {
        bool object = cJSON_IsObject(item);
        bool lines = indent >= 0 && item->child && (object || holds_containers(item)); /* plain arrays stay on a line */
        fputc(object ? '{' : '[', out);
        for (const cJSON *child = item->child; child; child = child->next) {
            if (lines) new_line(out, indent + 1);
            if (object) print_string(out, child->string), fputs(indent >= 0 ? ": " : ":", out);
            print_item(out, child, lines ? indent + 1 : -1);
            if (child->next) fputs(indent >= 0 && !lines ? ", " : ",", out);
        }
        if (lines) new_line(out, indent);
        fputc(object ? '}' : ']', out);
    } else if (cJSON_IsString(item)) {
        print_string(out, item->valuestring);
    } else if (cJSON_IsNumber(item) && item->valuestring) {
        fputs(item->valuestring, out);
    } else if (cJSON_IsNumber(item) && isfinite(item->valuedouble)) {
        print_number(number, item->valuedouble);
        fputs(number, out);
    } else if (cJSON_IsBool(item)) {
        fputs(cJSON_IsTrue(item) ? "true" : "false", out);
    } else {
        fputs("null", out);
    }
}

status json_print(char **text, const cJSON *json, json_style style) {
    *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(text, &bytes);
    if (!out) FAIL(MEM, "no memory to print JSON");
    print_item(out, json, style == JSON_INDENTED ? 0 : -1);
    if (style == JSON_INDENTED) fputc('\n', out);
    bool failed = ferror(out);
    if (fclose(out) || failed) {
        free(*text);
        *text = NULL;
        FAIL(MEM, "no memory to print JSON");
    }
    return STATUS_OK;
}
