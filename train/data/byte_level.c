#include "train/data/byte_level.h"

#include <stdbool.h>

#include "train/data/unicode.h"

enum { OTHERS = 68 }; /* bytes that are another character */

static bool is_itself(int32_t b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255); }

/* the characters are below U+0200: two bytes at most */
static struct {
    char text[256][2];
    uint8_t length[256];
    int16_t byte[256 + OTHERS];
} alphabet;

__attribute__((constructor)) static void fill(void) {
    int32_t next = 256;
    for (int i = 0; i < 256 + OTHERS; i++) alphabet.byte[i] = -1;
    for (int32_t b = 0; b < 256; b++) {
        int32_t c = is_itself(b) ? b : next++;
        alphabet.byte[c] = (int16_t)b;
        if (c < 0x80) {
            alphabet.length[b] = 1;
            alphabet.text[b][0] = (char)c;
        } else {
            alphabet.length[b] = 2;
            alphabet.text[b][0] = (char)(0xc0 | c >> 6);
            alphabet.text[b][1] = (char)(0x80 | (c & 0x3f));
        }
    }
}

size_t byte_level_write(char *out, const char *bytes, size_t count) {
    char *to = out;
    for (size_t i = 0; i < count; i++) {
        unsigned char b = (unsigned char)bytes[i];
        to[0] = alphabet.text[b][0];
        if (alphabet.length[b] == 2) to[1] = alphabet.text[b][1];
        to += alphabet.length[b];
    }
    return (size_t)(to - out);
}

int byte_level_byte(int32_t character) {
    return character >= 0 && character < 256 + OTHERS ? alphabet.byte[character] : -1;
}

long byte_level_read(char *out, const char *text, size_t bytes) {
    long count = 0;
    for (size_t i = 0; i < bytes; i += (size_t)unicode_length((unsigned char)text[i])) {
        int b = byte_level_byte(unicode_read(text + i));
        if (b < 0) return -1;
        out[count++] = (char)b; /* never beyond what has been read */
    }
    return count;
}
