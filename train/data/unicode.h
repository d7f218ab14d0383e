/* UTF-8, and Unicode's normalization form C (NFC) by utf8proc. */
#ifndef TALLY_UNICODE_H
#define TALLY_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

/* The length of the valid UTF-8 at the start of the text. *more: what stands behind it may be the begin of a character that
 * has been cut off; otherwise its first byte is wrong (or there is none). */
size_t unicode_valid(const char *text, size_t bytes, bool *more);

/* Of valid UTF-8. */
static inline int unicode_length(unsigned char first) {
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}
static inline int32_t unicode_read(const char *text) {
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) return p[0];
    if (p[0] < 0xe0) return (p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    if (p[0] < 0xf0) return (p[0] & 0xf) << 12 | (p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    return (p[0] & 7) << 18 | (p[1] & 0x3f) << 12 | (p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}
int unicode_write(char *out, int32_t c); /* up to 4 bytes; returns how many */

/* The property White_Space. */
static inline bool unicode_is_space(int32_t c) {
    return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Whether each character of a text may be followed by a cut for NFC: text before and after such a character can be
 * normalized apart, and the character alone is NFC. A bit for each code point. */
typedef struct {
    uint64_t bits[0x110000 / 64];
} unicode_nfc_starts;
status unicode_nfc_open(unicode_nfc_starts **starts); /* free with free() */
static inline bool unicode_nfc_start(const unicode_nfc_starts *s, int32_t c) { return s->bits[c >> 6] >> (c & 63) & 1; }

/* A text and its room, which grows. Initialise with zeros. */
typedef struct {
    int32_t *points;
    size_t room;
    char *text; /* the result */
    size_t text_room;
} unicode_scratch;
void unicode_scratch_free(unicode_scratch *s);

/* NFC of valid UTF-8; the result, of *length bytes, is in s->text. Linear in the size of the text. */
status unicode_nfc(unicode_scratch *s, size_t *length, const char *text, size_t bytes);

#endif
