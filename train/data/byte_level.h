/* GPT-2's byte-level alphabet: each byte as a printable character. The bytes 33 to 126, 161 to 172 and 174 to 255 are the
 * characters of the same number; the others, in order, are U+0100 and the following. */
#ifndef TALLY_BYTE_LEVEL_H
#define TALLY_BYTE_LEVEL_H

#include <stddef.h>
#include <stdint.h>

size_t byte_level_write(char *out, const char *bytes,
                        size_t count);  /* out: room for 2 * count; returns how many it took */
int byte_level_byte(int32_t character); /* -1: not a character of the alphabet */
/* The bytes that the text, valid UTF-8, stands for. Returns how many; -1: it has other characters. out may be `text`. */
long byte_level_read(char *out, const char *text, size_t bytes);

#endif
