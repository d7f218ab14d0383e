/* Every tensor of an accepted file lies in the file, and can be read. */
#include "tests/fuzz/fuzz.h"

#include "train/checkpoint/safetensors.h"

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    const char *const tiny[] = {"tests/reference/gpt2-tiny.safetensors", NULL};
    seeds[0] = fuzz_files("", tiny);
    seeds[0].bytes = seeds[0].bytes < 20000 ? seeds[0].bytes : 20000; /* the header, and data that do not suffice */
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                                 "\"b\":{\"dtype\":\"BF16\",\"shape\":[1,2],\"data_offsets\":[8,12]},"
                                 "\"__metadata__\":{\"format\":\"pt\"}}";
    size_t length = sizeof header - 1;
    seeds[1] = (fuzz_input){calloc(1, 8 + length + 12), 8 + length + 12};
    seeds[1].data[0] = (char)length;
    memcpy(seeds[1].data + 8, header, length);
    return 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    safetensors s;
    volatile unsigned char sum = 0;
    fuzz_put("x.safetensors", data, bytes);
    if (safetensors_open(&s, fuzz_path("x.safetensors")) != STATUS_OK) return 0;
    i64 total = 0;
    for (int i = 0; i < s.count; i++) {
        const unsigned char *d = safetensors_data(&s, &s.list[i]);
        i64 elements = s.list[i].bytes / (i64)dtype_bytes(s.list[i].type);
        float last;
        if (elements) safetensors_widen(&last, &s, &s.list[i], elements - 1, 1);
        for (i64 k = 0; k < s.list[i].bytes; k++) sum ^= d[k];
        total += s.list[i].bytes;
    }
    (void)sum; /* each byte was read: that is the test */
    FUZZ_CHECK(total <= (i64)bytes);
    safetensors_close(&s);
    return 0;
}
