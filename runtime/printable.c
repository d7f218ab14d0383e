#include "runtime/printable.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* how many bytes follow the first byte of a UTF-8 character; -1: not a first byte */
static int tail_bytes(unsigned char lead) {
    if (lead < 0x80) return 0;
    if (lead >= 0xc2 && lead < 0xe0) return 1;
    if (lead >= 0xe0 && lead < 0xf0) return 2;
    return lead >= 0xf0 && lead < 0xf5 ? 3 : -1;
}

static bool is_tail(unsigned char c) { return (c & 0xc0) == 0x80; }

/* U+0080 to U+009F */
static bool is_c1(unsigned char lead, unsigned char second) { return lead == 0xc2 && second < 0xa0; }

/* bytes of the printable character that begins here; 0: there is none */
static size_t character(const unsigned char *text, size_t bytes) {
    int tail = tail_bytes(text[0]);
    if (tail == 0) return text[0] >= 32 && text[0] != 127;
    if (tail < 0 || (size_t)tail >= bytes || is_c1(text[0], text[1])) return 0;
    for (int i = 1; i <= tail; i++)
        if (!is_tail(text[i])) return 0;
    bool too_long = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
    return too_long ? 0 : (size_t)tail + 1;
}

size_t printable(char *to, const char *text, size_t bytes) {
    char *start = to;
    for (size_t i = 0; i < bytes;) {
        size_t n = character((const unsigned char *)text + i, bytes - i);
        memcpy(to, text + i, n);
        to += n, i += n;
        if (!n) to += sprintf(to, "\\x%02x", (unsigned char)text[i++]);
    }
    *to = 0;
    return (size_t)(to - start);
}

const char *printable_next(printable_stream *s, unsigned char byte) {
    bool tail = is_tail(byte) && s->left > 0 && !is_c1(s->lead, byte);
    bool shown = tail || byte == '\n' || byte == '\t' || (byte >= 32 && byte != 127 && tail_bytes(byte) >= 0);
    s->left = tail ? s->left - 1 : shown ? tail_bytes(byte) : 0;
    s->lead = tail ? 0 : byte;
    if (shown) snprintf(s->text, sizeof s->text, "%c", byte);
    else snprintf(s->text, sizeof s->text, "\\x%02x", byte);
    return s->text;
}
