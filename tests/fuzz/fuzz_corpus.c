/* Text of every kind: the first byte chooses the file's name. Documents end in end-of-text, tokens are of the vocabulary. */
#include "tests/fuzz/fuzz.h"

#include <unistd.h>
#include <zlib.h>

#include "train/data/corpus.h"

static const char *const names[] = {"x.txt", "x.jsonl", "x.json", "x", "x.txt.gz", "x.jsonl.gz", "x.jsonl.zst"};
enum { NAMES = sizeof names / sizeof *names };

static fuzz_input zipped(char kind, const char *text) {
    fuzz_input x = {calloc(1, 512), 512};
    z_stream z = {.next_in = (unsigned char *)text, .avail_in = (unsigned)strlen(text)};
    FUZZ_CHECK(x.data && deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) == Z_OK);
    x.data[0] = kind;
    z.next_out = (unsigned char *)x.data + 1, z.avail_out = 511;
    FUZZ_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
    x.bytes = 1 + z.total_out;
    deflateEnd(&z);
    return x;
}

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    seeds[0] = fuzz_text("0A text of two lines.\nThe second, with \xc3\xbc.\n");
    seeds[1] = fuzz_text("1{\"text\": \"one\"}\n{\"text\": \"tw\\u00f6\", \"id\": [1, {\"a\": null}]}\n\n{\"text\": "
                         "\"\\ud83d\\ude00\"}\n");
    seeds[2] = fuzz_text("2[{\"text\": \"one\"}, {\"text\": \"two\"}]");
    seeds[3] = fuzz_text("3{\"text\": \"a line of an unnamed kind\"}\n{\"text\": \"another\"}\n");
    seeds[4] = zipped('4', "A text of two lines.\nThe second.\n");
    seeds[5] = zipped('5', "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    static const char frame[] = "6\x28\xb5\x2f\xfd\x04\x58\x79\x00\x00{\"text\":\"one\"}\n\xad\x54\x03\xf5";
    seeds[6] = (fuzz_input){malloc(sizeof frame), sizeof frame - 1};
    FUZZ_CHECK(seeds[6].data);
    memcpy(seeds[6].data, frame, sizeof frame - 1);
    return 7;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (!bytes) return 0;
    const char *name = names[(unsigned)(data[0] - '0') % NAMES], *path = fuzz_path(name);
    text_source from = {.paths = &path, .count = 1, .max_bad_lines = 2};
    corpus c;
    i64 ends = 0;
    fuzz_put(name, data + 1, bytes - 1);
    if (corpus_load(&c, &from, 0.1, 1) == STATUS_OK) {
        FUZZ_CHECK(c.train_count >= 2 && c.train_count <= c.count && c.bytes + c.documents == c.count);
        FUZZ_CHECK(c.tokens[c.count - 1] == TOKEN_END_OF_TEXT);
        for (i64 i = 0; i < c.count; i++) {
            FUZZ_CHECK(c.tokens[i] < BYTE_VOCABULARY);
            ends += c.tokens[i] == TOKEN_END_OF_TEXT;
        }
        FUZZ_CHECK(ends == c.documents);
        documents_log(&c.text);
        corpus_free(&c);
    }
    unlink(path);
    return 0;
}
