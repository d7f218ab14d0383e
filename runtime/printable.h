/* Makes text from files safe to print on a terminal. Names and values in files may contain control characters, which could
 * hide a line or change the window's title. */
#ifndef TALLY_PRINTABLE_H
#define TALLY_PRINTABLE_H

#include <stddef.h>

enum { PRINTABLE_BYTES = 4 }; /* the most bytes that one byte becomes */

/* Writes `text` without control characters to `to` [PRINTABLE_BYTES * bytes + 1]. ASCII above 31 and valid UTF-8 are copied;
 * control characters (C0 with newline and tab, DEL, C1) and bytes that are not UTF-8 become \xNN. Returns the number of
 * bytes written, without the final NUL. */
size_t printable(char *to, const char *text, size_t bytes);

/* The same for a stream of bytes, one at a time. Newline and tab are copied, and so are bytes above 127 that can be part of
 * UTF-8. Initialise with zeros. Returns what to print. */
typedef struct {
    int left;           /* bytes that the current character still needs */
    unsigned char lead; /* its first byte */
    char text[PRINTABLE_BYTES + 1];
} printable_stream;
const char *printable_next(printable_stream *s, unsigned char byte);

#endif
