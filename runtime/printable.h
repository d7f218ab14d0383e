/* Text from files, on its way to a terminal. Names and values in files may hold control characters, which a terminal obeys:
 * they could hide a line, or change the window's title. */
#ifndef TALLY_PRINTABLE_H
#define TALLY_PRINTABLE_H

#include <stddef.h>

enum { PRINTABLE_BYTES = 4 }; /* a byte becomes at most so many */

/* Writes `text` without control characters into `to` (PRINTABLE_BYTES * bytes + 1): what is ASCII above 31 or valid UTF-8
 * stays as it is; control characters (C0 with newline and tab, DEL, C1) and bytes that are no UTF-8 become \xNN. Returns the
 * bytes written, without the NUL behind. */
size_t printable(char *to, const char *text, size_t bytes);

/* A stream of bytes, one at a time, for what is printed as it comes: newline and tab pass, and bytes above 127 where they can
 * be part of UTF-8. Zeroed at first. Returns what to print. */
typedef struct {
    int left;           /* bytes that the character under way still needs */
    unsigned char lead; /* its first byte */
    char text[PRINTABLE_BYTES + 1];
} printable_stream;
const char *printable_next(printable_stream *s, unsigned char byte);

#endif
