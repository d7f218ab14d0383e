#include "train/data/json_scan.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json_outline.h"
#include "train/data/unicode.h"

static bool is_one_of(char c, const char *set) { return c && strchr(set, c); }

void json_scan_free(json_scan *s) {
    free(s->room);
    s->room = NULL;
    s->room_bytes = 0;
}

char json_scan_peek(json_scan *s) {
    while (s->at < s->bytes && is_one_of(s->text[s->at], " \t\r\n")) s->at++;
    return s->at < s->bytes ? s->text[s->at] : 0;
}

static status wrong(json_scan *s, const char *expected) {
    char found[24];
    size_t n = 0;
    if (!json_scan_peek(s)) FAIL(DATA, "%s: found the end of the file, expected %s", s->path, expected);
    for (; n + 1 < sizeof found && s->text[s->at + n] > 32; n++) found[n] = s->text[s->at + n];
    found[n] = 0;
    FAIL(DATA, "%s: found %s at byte %zu, expected %s", s->path, found, s->at, expected);
}

bool json_scan_take(json_scan *s, char c) {
    if (json_scan_peek(s) != c || !c) return false;
    s->at++;
    return true;
}

status json_scan_expect(json_scan *s, char c) {
    const char text[] = {c, 0};
    return json_scan_take(s, c) ? STATUS_OK : wrong(s, text);
}

/* The offset of the closing quote of the string whose contents begin at `at`; 0: there is none. */
static size_t string_end(const json_scan *s, size_t at) {
    while (at < s->bytes && s->text[at] != '"') at += s->text[at] == '\\' ? 2 : 1;
    return at < s->bytes ? at : 0;
}

static bool valid_string(const char *text, size_t bytes) {
    bool more;
    if (unicode_valid(text, bytes, &more) != bytes) return false;
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)text[i] < 32) return false;
        if (text[i] != '\\') continue;
        i++;
        if (!is_one_of(text[i], "\"\\/bfnrtu")) return false;
        if (text[i] != 'u') continue;
        for (int j = 1; j <= 4; j++)
            if (!isxdigit((unsigned char)text[i + (size_t)j])) return false; /* a quote ends it at the latest */
    }
    return true;
}

status json_scan_string(json_scan *s, size_t *bytes) {
    *bytes = 0;
    if (json_scan_peek(s) != '"') return wrong(s, "a string");
    size_t from = s->at + 1, end = string_end(s, from);
    if (!end || !valid_string(s->text + from, end - from)) return wrong(s, "a string of UTF-8");
    if (s->room_bytes <= end - from) {
        size_t larger = 2 * (end - from) + 64;
        free(s->room);
        s->room_bytes = 0;
        if (!(s->room = malloc(larger))) FAIL(MEM, "%s: no memory for a string of %zu bytes", s->path, end - from);
        s->room_bytes = larger;
    }
    *bytes = json_outline_string(s->room, s->text + from);
    s->room[*bytes] = 0;
    s->at = end + 1;
    return STATUS_OK;
}

status json_scan_integer(json_scan *s, i64 *v) {
    bool negative = json_scan_take(s, '-');
    size_t digits = strspn(s->text + s->at, "0123456789");
    *v = 0;
    if (!digits || digits > 18) return wrong(s, "an integer");
    for (size_t i = 0; i < digits; i++) *v = 10 * *v + (s->text[s->at + i] - '0');
    if (negative) *v = -*v;
    s->at += digits;
    return STATUS_OK;
}

status json_scan_skip(json_scan *s) {
    size_t depth = 0;
    if (!json_scan_peek(s)) return wrong(s, "a value");
    while (s->at < s->bytes) {
        char c = s->text[s->at];
        if (c == '"') {
            size_t end = string_end(s, s->at + 1);
            if (!end) return wrong(s, "a string that ends");
            s->at = end;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (!depth) return STATUS_OK; /* of what holds the value */
            depth--;
        } else if (c == ',' && !depth) {
            return STATUS_OK;
        }
        s->at++;
        if (!depth && is_one_of(c, "\"}]")) return STATUS_OK;
    }
    if (depth) FAIL(DATA, "%s: found the end of the file, expected more JSON", s->path);
    return STATUS_OK;
}
