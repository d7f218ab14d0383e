/* Every token, document and start of an accepted token file can be read. */
#include "tests/fuzz/fuzz.h"

#include <zlib.h>

#include "train/data/shard.h"

static fuzz_input written(shard_format format, i64 vocabulary) {
    const shard_kind kind = {.format = format, .vocabulary = vocabulary, .end_of_text = 3, .fingerprint = "bpe-9-1a2b"};
    shard_writer *w;
    FUZZ_CHECK(shard_writer_open(&w, fuzz_path("seed"), &kind) == STATUS_OK);
    for (int d = 0; d < 3; d++) {
        FUZZ_CHECK(shard_writer_add(w, (int32_t[]){1, 2, 3, 3}, d + 2) == STATUS_OK);
        FUZZ_CHECK(shard_writer_end(w, 5) == STATUS_OK);
    }
    FUZZ_CHECK(shard_writer_close(w) == STATUS_OK);
    return fuzz_files("", (const char *const[]){fuzz_path("seed"), NULL});
}

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    seeds[0] = written(SHARD_TALLY, 257);
    seeds[1] = written(SHARD_TALLY, 100000);
    seeds[2] = written(SHARD_LLMC, 50257);
    seeds[3] = written(SHARD_LLMC, 128256);
    return 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    uint8_t *copy = malloc(bytes + 1);
    FUZZ_CHECK(copy);
    memcpy(copy, data, bytes);
    if (bytes >= 1024) { /* with the right checksum a lie in the header is not found by that alone */
        uint32_t crc = (uint32_t)crc32(0, copy, 1020);
        memcpy(copy + 1020, &crc, 4);
    }
    fuzz_put("x", copy, bytes);
    free(copy);
    shard s;
    if (shard_open(&s, fuzz_path("x")) != STATUS_OK) return 0;
    FUZZ_CHECK(shard_is(fuzz_path("x")));
    FUZZ_CHECK(s.count >= 0 && s.documents <= s.count && s.count <= (i64)bytes);
    int32_t *tokens = malloc((size_t)s.count * 8 + 1), *starts = tokens + s.count;
    FUZZ_CHECK(tokens);
    shard_read(&s, 0, s.count, tokens);
    if (s.count) shard_starts(&s, 0, s.count, starts);
    for (i64 i = 0; i < s.count; i++) FUZZ_CHECK(starts[i] >= 0 && starts[i] <= i);
    for (i64 d = 0; d <= s.documents; d++) FUZZ_CHECK(shard_document(&s, d) >= 0 && shard_document(&s, d) <= s.count);
    fuzz_either(shard_check(&s));
    shard_close(&s);
    free(tokens);
    return 0;
}
