#include <stdlib.h>
#include <string.h>

#include "train/data/tokenizer_parts.h"

struct tokenizer_decoder {
    const tokenizer *t;
    bool special;
    int held; /* bytes of a character that is not complete */
    char hold[4];
    bool started; /* something has been written */
};

status tokenizer_decoder_open(tokenizer_decoder **d, const tokenizer *t, bool special) {
    if (!(*d = calloc(1, sizeof **d))) FAIL(MEM, "no memory for a decoder");
    **d = (tokenizer_decoder){.t = t, .special = special};
    return STATUS_OK;
}

void tokenizer_decoder_close(tokenizer_decoder *d) { free(d); }

void tokenizer_text_free(tokenizer_text *text) {
    free(text->text);
    *text = (tokenizer_text){0};
}

status tokenizer_text_add(tokenizer_text *out, const char *text, size_t bytes) {
    if (out->capacity - out->bytes <= bytes) {
        size_t capacity = out->capacity ? out->capacity : 256;
        while (capacity - out->bytes <= bytes) capacity *= 2;
        char *larger = realloc(out->text, capacity);
        if (!larger) FAIL(MEM, "no memory for %zu bytes of text", capacity);
        out->text = larger;
        out->capacity = capacity;
    }
    if (bytes) memcpy(out->text + out->bytes, text, bytes);
    out->bytes += bytes;
    out->text[out->bytes] = 0;
    return STATUS_OK;
}

/* How many of the last bytes begin a character that is not complete, but may become so: 0 to 3. */
static size_t unfinished(const char *text, size_t bytes) {
    for (size_t back = 1; back <= 3 && back <= bytes; back++) {
        unsigned char c = (unsigned char)text[bytes - back];
        if (c < 0x80) return 0;
        if (c < 0xc0) continue; /* a later byte of a character */
        size_t length = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 1;
        if (length <= back) return 0;
        if (back == 1) return 1;
        unsigned char second = (unsigned char)text[bytes - back + 1];
        bool wrong = (c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
                     (c == 0xf4 && second > 0x8f);
        return wrong ? 0 : back;
    }
    return 0;
}

status tokenizer_decode(tokenizer_decoder *d, tokenizer_text *out, const int32_t *ids, i64 count, bool last) {
    const tokenizer *t = d->t;
    size_t held = (size_t)d->held, start = out->bytes;
    TRY(tokenizer_text_add(out, d->hold, held));
    for (i64 i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= t->tokens.size || (t->special[ids[i]] && !d->special)) continue;
        size_t from = t->written_at[ids[i]], to = t->written_at[ids[i] + 1];
        if (t->strip_space && !d->started && from < to && t->written[from] == ' ') from++;
        d->started = true;
        TRY(tokenizer_text_add(out, t->written + from, to - from));
    }
    held = last ? 0 : unfinished(out->text + start, out->bytes - start);
    memcpy(d->hold, out->text + out->bytes - held, held);
    d->held = (int)held;
    if (last) d->started = false;
    out->bytes -= held;
    if (out->text) out->text[out->bytes] = 0;
    return STATUS_OK;
}
