/* A tokenizer trained on any text opens, and every text decodes to itself. The first byte chooses the pattern. */
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

#include "train/data/tokenizer.h"
#include "train/data/tokenizer_train.h"

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    seeds[0] = fuzz_text("0the low, the lower, the lowest; the low, the lower, the lowest\n  aaaaaaaa abababab\n");
    seeds[1] = fuzz_text(
        "1It's 12345 12345 \xd0\x9f\xd1\x80\xd0\xb8 \xd0\x9f\xd1\x80\xd0\xb8\r\n\r\n \xe3\x80\x80x\xff\xfe\xffyy");
    seeds[2] = fuzz_text("2<|endoftext|> 99 99 \xe4\xb8\xad\xe6\x96\x87\xe4\xb8\xad\xe6\x96\x87 <|endoftext|>");
    return 3;
}

static void check_round_trip(const char *folder, const char *text, size_t bytes) {
    tokenizer *t;
    tokenizer_encoder *e;
    tokenizer_decoder *d;
    token_list ids = {0};
    tokenizer_text back = {0};
    FUZZ_CHECK(tokenizer_open(&t, folder) == STATUS_OK && tokenizer_end_of_text(t) == 0);
    FUZZ_CHECK(tokenizer_encoder_open(&e, t, false) == STATUS_OK && tokenizer_decoder_open(&d, t, true) == STATUS_OK);
    FUZZ_CHECK(tokenizer_encode(e, &ids, text, bytes, true) == STATUS_OK);
    FUZZ_CHECK(tokenizer_decode(d, &back, ids.ids, ids.count, true) == STATUS_OK);
    FUZZ_CHECK(back.bytes == bytes && (bytes == 0 || memcmp(back.text, text, bytes) == 0));
    tokenizer_text_free(&back);
    token_list_free(&ids);
    tokenizer_decoder_close(d);
    tokenizer_encoder_close(e);
    tokenizer_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (!bytes) return 0;
    const char *path = fuzz_path("x.txt"), *folder = fuzz_path("tokenizer");
    text_source from = {.paths = &path, .count = 1};
    tokenizer_train_options o = {
        .vocab_size = 300, .min_frequency = 1, .pattern = (word_pattern)((unsigned)(data[0] - '0') % 3), .threads = 1};
    tokenizer_training t;
    fuzz_put("x.txt", data + 1, bytes - 1);
    if (tokenizer_train(&t, folder, &from, &o) == STATUS_OK) {
        FUZZ_CHECK(t.tokens >= 257 && t.tokens <= 300);
        tokenizer_train_free(&t);
        check_round_trip(folder, (const char *)data + 1, bytes - 1);
        unlink(fuzz_path("tokenizer/tokenizer.json"));
        unlink(fuzz_path("tokenizer/tokenizer_config.json"));
    }
    unlink(path);
    return 0;
}
