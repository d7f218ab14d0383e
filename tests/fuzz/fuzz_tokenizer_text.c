/* Any bytes: what is decoded is the text, and its tokens do not depend on where it is cut. */
#include "tests/fuzz/fuzz.h"

#include "tests/tiny_tokenizer.h"
#include "train/data/tokenizer.h"

enum { KINDS = 3 };
static tokenizer *tokenizers[KINDS];
static tokenizer_encoder *encoders[KINDS];

static void close_all(void) {
    for (int i = 0; i < KINDS; i++) {
        tokenizer_encoder_close(encoders[i]);
        tokenizer_close(tokenizers[i]);
    }
}

static void open_all(void) {
    static const tiny_tokenizer kinds[KINDS] = {
        {.byte_level = true},
        {.normalizer = "null"},
        {.byte_level = true,
         .pre_tokenizer =
             "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":"
             "\"ByteLevel\",\"add_prefix_space\":false},{\"type\":\"Punctuation\"}]}"},
    };
    for (int i = 0; i < KINDS; i++) {
        char *text = tiny_text(&kinds[i]);
        fuzz_put("tokenizer.json", text, strlen(text));
        free(text);
        FUZZ_CHECK(tokenizer_open(&tokenizers[i], fuzz_path("tokenizer.json")) == STATUS_OK);
        FUZZ_CHECK(tokenizer_encoder_open(&encoders[i], tokenizers[i], true) == STATUS_OK);
    }
    atexit(close_all);
}

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    seeds[0] = fuzz_text("hello  world, 12 hell\u00f6\n\nab<|endoftext|>hello");
    seeds[1] = fuzz_text("\xff\xc3\xa4\xc3\xed\xa0\x80\xf0\x9f\x98\x80\xf0\x9f");
    seeds[2] =
        fuzz_text("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa   \t\t ' 'll");
    return 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const char *text = (const char *)data;
    if (!tokenizers[0]) open_all();
    for (int i = 0; i < KINDS; i++) {
        token_list whole = {0}, cut = {0};
        tokenizer_text out = {0};
        tokenizer_decoder *d;
        size_t part = bytes ? 1 + data[bytes / 2] % 9 : 1;
        FUZZ_CHECK(tokenizer_encode(encoders[i], &whole, text, bytes, true) == STATUS_OK);
        for (size_t at = 0; at < bytes; at += part)
            FUZZ_CHECK(tokenizer_encode(encoders[i], &cut, text + at, bytes - at < part ? bytes - at : part, false) ==
                       STATUS_OK);
        FUZZ_CHECK(tokenizer_encode(encoders[i], &cut, "", 0, true) == STATUS_OK);
        FUZZ_CHECK(cut.count == whole.count);
        FUZZ_CHECK(!cut.count || memcmp(cut.ids, whole.ids, (size_t)cut.count * sizeof *cut.ids) == 0);
        FUZZ_CHECK(tokenizer_decoder_open(&d, tokenizers[i], true) == STATUS_OK);
        for (i64 j = 0; j < whole.count; j++)
            FUZZ_CHECK(tokenizer_decode(d, &out, whole.ids + j, 1, false) == STATUS_OK);
        FUZZ_CHECK(tokenizer_decode(d, &out, NULL, 0, true) == STATUS_OK);
        if (i != 1 || (bytes && data[0] != ' ' && !memmem(data, bytes, "\u2581", 3))) {
            FUZZ_CHECK(out.bytes == bytes && (!bytes || memcmp(out.text, data, bytes) == 0));
        }
        tokenizer_decoder_close(d);
        tokenizer_text_free(&out);
        token_list_free(&whole);
        token_list_free(&cut);
    }
    return 0;
}
