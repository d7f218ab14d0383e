#include "runtime/json_outline.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"

/* ---- strings ---- */

/* not sscanf, which calls strlen of the whole text each time */
static bool four_digits(const char *p, unsigned *code) {
    char digits[5] = {0};
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)p[i])) return false;
        digits[i] = p[i];
    }
    *code = (unsigned)strtoul(digits, NULL, 16);
    return true;
}

/* The offset after the string whose opening quote is at `i`. *valid: it has a closing quote and valid escapes. */
static size_t string_end(const char *text, size_t i, bool *valid) {
    unsigned code;
    *valid = true;
    for (i++;; i++) {
        i += strcspn(text + i, "\"\\");
        if (text[i] == '"') return i + 1;
        if (text[i] == '\\') i++;
        if (!text[i]) {
            *valid = false;
            return i;
        }
        *valid &= strchr("\"\\/bfnrtu", text[i]) && (text[i] != 'u' || four_digits(text + i + 1, &code));
    }
}

static char *put_utf8(char *out, unsigned code) {
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
    *out++ = (char)(first[more] | code >> 6 * more);
    while (more-- > 0) *out++ = (char)(0x80 | (code >> 6 * more & 0x3f));
    return out;
}

/* *p is after \u at first, and after the escape or the pair of escapes at the end */
static unsigned read_code(const char **p) {
    unsigned code = 0, low;
    four_digits(*p, &code);
    *p += 4;
    if (code < 0xd800 || code >= 0xe000) return code;
    if (code >= 0xdc00 || (*p)[0] != '\\' || (*p)[1] != 'u' || !four_digits(*p + 2, &low)) return 0xfffd;
    if (low < 0xdc00 || low >= 0xe000) return 0xfffd;
    *p += 6;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

size_t json_outline_string(char *out, const char *contents) {
    static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
    char *to = out;
    for (const char *p = contents;;) {
        size_t plain = strcspn(p, "\"\\");
        memmove(to, p, plain);
        to += plain;
        p += plain;
        if (*p != '\\') return (size_t)(to - out);
        const char escape = p[1], *name = strchr(names, escape);
        p += 2;
        if (escape == 'u') to = put_utf8(to, read_code(&p));
        else *to++ = name ? values[name - names] : escape;
    }
}

/* ---- the outline ---- */

static bool is_key(const char *behind) { return behind[strspn(behind, " \t\r\n")] == ':'; }

/* an integer that jansson may refuse, or -0 */
static bool keeps_digits(const char *number, size_t length) {
    size_t sign = number[0] == '-', digits = strspn(number + sign, "0123456789");
    if (sign + digits != length) return false;
    return number[sign] == '0' ? sign && digits == 1 : digits >= 19;
}

/* Writes the outline until it has `limit` bytes or more, and returns the offset of the token that reached the limit, or
 * `bytes`. Text that is not JSON is copied, so that jansson refuses it. */
static size_t write_outline(char *out, size_t *out_bytes, size_t limit, const char *text, size_t bytes) {
    size_t i = 0, n = 0, start = 0;
    while (i < bytes && n < limit) {
        start = i;
        bool offset = false, number = text[i] == '-' || isdigit((unsigned char)text[i]);
        if (text[i] == '"') {
            i = string_end(text, i, &offset);
        } else if (number) {
            i += strspn(text + i, "+-.0123456789eE");
            offset = keeps_digits(text + start, i - start);
        } else {
            do i++;
            while (isalpha((unsigned char)text[i - 1]) && isalpha((unsigned char)text[i]));
        }
        if (offset && !is_key(text + i)) {
            n += (size_t)sprintf(out + n, number ? "\"#%zu\"" : "\"%zu\"", start + !number);
        } else {
            memcpy(out + n, text + start, i - start);
            n += i - start;
        }
    }
    *out_bytes = n;
    return n < limit ? bytes : start;
}

json_t *json_outline_load(const char *text, size_t bytes, json_fault *fault) {
    /* It grows most where -0"" (4 bytes), which jansson refuses, becomes "#123456789""123456789" (23 bytes). */
    size_t n;
    char *outline = malloc(6 * bytes + 16);
    json_error_t error = {0};
    json_t *json = NULL;
    *fault = (json_fault){.no_memory = true};
    if (!outline) return NULL;
    write_outline(outline, &n, SIZE_MAX, text, bytes);
    json = json_loadb(outline, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        enum json_error_code code = json_error_code(&error);
        const char *near = strstr(error.text, " near ");
        fault->no_memory = code == json_error_out_of_memory || code == json_error_unknown;
        fault->at = code == json_error_premature_end_of_input
                        ? bytes
                        : write_outline(outline, &n, (size_t)error.position, text, bytes);
        snprintf(fault->reason, sizeof fault->reason, "%.*s", near ? (int)(near - error.text) : 79, error.text);
    }
    free(outline);
    return json;
}
