/* A tokenizer.json, or GPT-2's two files, and a text. What opens encodes the text to tokens that it has, the same whole and in
 * parts, and decodes them. */
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

#include "tests/tiny_tokenizer.h"
#include "train/data/tokenizer.h"

enum { LONGEST_TEXT = 4096 };

static const char *const files[] = {"tokenizer.json", "vocab.json", "merges.txt", "text", NULL};

static fuzz_input seed(tiny_tokenizer how, const char *text) {
    fuzz_input x = {0};
    FILE *out = open_memstream(&x.data, &x.bytes);
    FUZZ_CHECK(out);
    tiny_print(out, &how);
    fprintf(out, "%s{}%sa b%s%s", FUZZ_CUT, FUZZ_CUT, FUZZ_CUT, text);
    FUZZ_CHECK(fclose(out) == 0);
    return x;
}

/* A small one, of which more mutations matter. */
static fuzz_input small_seed(const char *head, const char *text) {
    fuzz_input x = {0};
    FILE *out = open_memstream(&x.data, &x.bytes);
    FUZZ_CHECK(out);
    fprintf(out,
            "{\"added_tokens\":[{\"id\":9,\"content\":\"<s>\",\"special\":true}],%s,\"decoder\":{\"type\":"
            "\"ByteLevel\"},\"model\":"
            "{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3,\"1\":4,\"\\u2581\":5},\"merges\":[\"a b\"]}}",
            head);
    fprintf(out, "%s{}%sa b%s%s", FUZZ_CUT, FUZZ_CUT, FUZZ_CUT, text);
    FUZZ_CHECK(fclose(out) == 0);
    return x;
}

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    static const char text[] = "hello world 12 \u00e4\xff<s> ab";
    int n = 0;
    seeds[n++] = seed((tiny_tokenizer){.byte_level = true}, text);
    seeds[n++] = seed((tiny_tokenizer){.arrays = true}, text);
    seeds[n++] = small_seed("\"pre_tokenizer\":{\"type\":\"ByteLevel\"}", text);
    seeds[n++] = small_seed(
        "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
        "\"Split\",\"pattern\":{\"Regex\":\"[^\\\\s\\\\p{L}]?\\\\p{L}+|\\\\s+(?!\\\\S)|\\\\s\"},\"behavior\":"
        "\"Isolated\","
        "\"invert\":false},{\"type\":\"ByteLevel\",\"use_regex\":false}]}",
        text);
    seeds[n++] =
        small_seed("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Punctuation\",\"behavior\":"
                   "\"Contiguous\"},{\"type\":\"ByteLevel\"},{\"type\":\"Digits\",\"individual_digits\":true}]}",
                   text);
    seeds[n++] = small_seed(
        "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"first\"}", text);
    seeds[n++] =
        small_seed("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
                   "\"\u2581\"},{\"type\":"
                   "\"Replace\",\"pattern\":{\"String\":\"ab\"},\"content\":\"b\"}]},\"post_processor\":{\"type\":"
                   "\"RobertaProcessing\",\"sep\":[\"a\",0],\"cls\":[\"b\",1]}",
                   text);
    seeds[n++] = fuzz_text("x" FUZZ_CUT "{\"a\":0,\"b\":1,\"ab\":2}" FUZZ_CUT "#version: 0.2\na b\n" FUZZ_CUT "ab ba");
    return n;
}

static status_code encode(tokenizer_encoder *e, token_list *ids, fuzz_piece text, size_t part) {
    const char *at = (const char *)text.data;
    for (; text.bytes > part; at += part, text.bytes -= part)
        if (tokenizer_encode(e, ids, at, part, false)) return STATUS_DATA;
    return tokenizer_encode(e, ids, at, text.bytes, true);
}

static void decode(const tokenizer *t, const token_list *ids) {
    tokenizer_decoder *d;
    tokenizer_text out = {0};
    FUZZ_CHECK(tokenizer_decoder_open(&d, t, true) == STATUS_OK);
    FUZZ_CHECK(tokenizer_decode(d, &out, ids->ids, ids->count, true) == STATUS_OK);
    tokenizer_text_free(&out);
    tokenizer_decoder_close(d);
}

static void use(const tokenizer *t, fuzz_piece text) {
    tokenizer_encoder *e;
    token_list whole = {0}, cut = {0};
    FUZZ_CHECK(tokenizer_encoder_open(&e, t, text.bytes % 2) == STATUS_OK);
    status_code st = encode(e, &whole, text, SIZE_MAX);
    if (st == STATUS_OK) { /* else the pattern gave up */
        for (i64 i = 0; i < whole.count; i++) FUZZ_CHECK(tokenizer_name(t, whole.ids[i]));
        for (size_t part = 1; part < 6; part += 2) {
            cut.count = 0;
            tokenizer_encode_restart(e);
            if (encode(e, &cut, text, part) != STATUS_OK) continue;
            FUZZ_CHECK(cut.count == whole.count);
            FUZZ_CHECK(!cut.count || memcmp(cut.ids, whole.ids, (size_t)cut.count * sizeof *cut.ids) == 0);
        }
        decode(t, &whole);
    }
    token_list_free(&whole);
    token_list_free(&cut);
    tokenizer_encoder_close(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_piece rest = {data, bytes}, piece = {0};
    tokenizer *t;
    fuzz_put_all((fuzz_piece){data, bytes}, files);
    while (fuzz_next(&rest, &piece)) continue; /* the last piece is the text */
    if (piece.bytes > LONGEST_TEXT) piece.bytes = LONGEST_TEXT;
    if (bytes && data[0] == 'x') unlink(fuzz_path(files[0])); /* GPT-2's two files */
    if (tokenizer_open(&t, fuzz_folder()) != STATUS_OK) return 0;
    use(t, piece);
    tokenizer_close(t);
    return 0;
}
