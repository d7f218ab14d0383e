#include "train/data/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MOST_PARTS = 8 }; /* code points of a canonical decomposition; the longest has 4 */

/* ---- UTF-8 ---- */

/* The length of the character at the start; 0: its first byte is wrong; -1: it may be cut off. */
static int character(const unsigned char *p, size_t bytes) {
    unsigned char c = p[0];
    if (c < 0x80) return 1;
    if (c < 0xc2 || c > 0xf4) return 0;
    int length = unicode_length(c);
    if (bytes > 1) {
        unsigned char low = c == 0xe0   ? 0xa0
                            : c == 0xf0 ? 0x90
                                        : 0x80,
                      high = c == 0xed   ? 0x9f
                             : c == 0xf4 ? 0x8f
                                         : 0xbf;
        if (p[1] < low || p[1] > high) return 0;
    }
    for (int i = 2; i < length && (size_t)i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return (size_t)length > bytes ? -1 : length;
}

size_t unicode_valid(const char *text, size_t bytes, bool *more) {
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0;
    *more = false;
    while (i < bytes) {
        uint64_t eight;
        if (bytes - i >= 8 && (memcpy(&eight, p + i, 8), !(eight & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        int length = character(p + i, bytes - i);
        if (length <= 0) {
            *more = length < 0;
            break;
        }
        i += (size_t)length;
    }
    return i;
}

int unicode_write(char *out, int32_t c) { return (int)utf8proc_encode_char(c, (utf8proc_uint8_t *)out); }

/* ---- NFC ---- */

static int decompose(int32_t parts[MOST_PARTS], int32_t c) {
    int boundary;
    return (int)utf8proc_decompose_char(c, parts, MOST_PARTS, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
}

static int combining_class(int32_t c) { return utf8proc_get_property(c)->combining_class; }

static void clear(unicode_nfc_starts *s, int32_t c) { s->bits[c >> 6] &= ~(1ull << (c & 63)); }

/* Not a start: a character with a combining class, one that may be composed with what stands before it (a later part of a
 * decomposition), and one whose NFC is another text. */
status unicode_nfc_open(unicode_nfc_starts **starts) {
    unicode_nfc_starts *s = malloc(sizeof *s);
    if (!s) FAIL(MEM, "no memory for the tables of NFC");
    memset(s, 0xff, sizeof *s);
    for (int32_t c = 0x80; c < 0x110000; c++) {
        int32_t parts[MOST_PARTS];
        if (combining_class(c)) clear(s, c);
        int count = decompose(parts, c);
        if (count == 1 && parts[0] == c) continue;
        for (int i = 1; i < count && i < MOST_PARTS; i++) clear(s, parts[i]);
        if (count > 0 && count <= MOST_PARTS &&
            (utf8proc_normalize_utf32(parts, count, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1 || parts[0] != c))
            clear(s, c);
    }
    *starts = s;
    return STATUS_OK;
}

void unicode_scratch_free(unicode_scratch *s) {
    free(s->points);
    free(s->text);
    *s = (unicode_scratch){0};
}

static status reserve(unicode_scratch *s, size_t bytes) {
    size_t points = bytes * MOST_PARTS;
    if (s->room < 2 * points) { /* the second half is room to sort */
        free(s->points);
        s->room = 2 * points + 64;
        if (!(s->points = malloc(s->room * sizeof *s->points))) {
            s->room = 0;
            FAIL(MEM, "no memory to normalize %zu bytes of text", bytes);
        }
    }
    if (s->text_room < 4 * points) {
        free(s->text);
        s->text_room = 4 * points + 64;
        if (!(s->text = malloc(s->text_room))) {
            s->text_room = 0;
            FAIL(MEM, "no memory to normalize %zu bytes of text", bytes);
        }
    }
    return STATUS_OK;
}

/* Sorts characters that all have a combining class by it, and keeps the order of equals. */
static void sort_marks(int32_t *points, size_t count, int32_t *room) {
    size_t starts[257] = {0};
    if (count == 2 && combining_class(points[0]) <= combining_class(points[1])) return;
    for (size_t i = 0; i < count; i++) starts[combining_class(points[i]) + 1]++;
    for (int i = 0; i < 256; i++) starts[i + 1] += starts[i];
    for (size_t i = 0; i < count; i++) room[starts[combining_class(points[i])]++] = points[i];
    memcpy(points, room, count * sizeof *points);
}

status unicode_nfc(unicode_scratch *s, size_t *length, const char *text, size_t bytes) {
    size_t count = 0, marks = 0;
    TRY(reserve(s, bytes));
    for (size_t i = 0; i < bytes; i += (size_t)unicode_length((unsigned char)text[i])) {
        int32_t parts[MOST_PARTS];
        int n = decompose(parts, unicode_read(text + i));
        for (int j = 0; j < n && j < MOST_PARTS; j++) {
            bool mark = combining_class(parts[j]) > 0;
            if (!mark && marks > 1) sort_marks(s->points + count - marks, marks, s->points + s->room / 2);
            marks = mark ? marks + 1 : 0;
            s->points[count++] = parts[j];
        }
    }
    if (marks > 1) sort_marks(s->points + count - marks, marks, s->points + s->room / 2);
    utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(s->points, (utf8proc_ssize_t)count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    *length = 0;
    for (utf8proc_ssize_t i = 0; i < composed; i++) *length += (size_t)unicode_write(s->text + *length, s->points[i]);
    return STATUS_OK;
}
