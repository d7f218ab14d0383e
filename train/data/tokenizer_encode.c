#include <stdlib.h>
#include <string.h>

#include "runtime/tokens.h"
#include "train/data/tokenizer_parts.h"

struct tokenizer_encoder {
    const tokenizer *t;
    bool special;
};

status tokenizer_encoder_open(tokenizer_encoder **e, const tokenizer *t, bool special) {
    if (!(*e = calloc(1, sizeof **e))) FAIL(MEM, "no memory for an encoder");
    **e = (tokenizer_encoder){.t = t, .special = special};
    return STATUS_OK;
}

void tokenizer_encoder_close(tokenizer_encoder *e) { free(e); }

status tokenizer_encode(tokenizer_encoder *e, token_list *out, const char *text, size_t bytes, bool last) {
    (void)e, (void)last;
    TRY(token_list_reserve(out, (i64)bytes));
    for (size_t i = 0; i < bytes; i++) out->ids[out->count + (i64)i] = (unsigned char)text[i];
    out->count += (i64)bytes;
    return STATUS_OK;
}

void tokenizer_encode_restart(tokenizer_encoder *e) { (void)e; }
