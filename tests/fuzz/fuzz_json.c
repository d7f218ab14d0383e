/* JSON that is read and printed is the same when it is read again. */
#include "tests/fuzz/fuzz.h"

#include "runtime/json.h"

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    static const char *const texts[] = {
        "{\"steps\": 1000, \"lr\": 3e-4, \"names\": [\"a\", \"b\\n\\u00fc\"], \"none\": null, \"on\": true}",
        "[9007199254740993, -0.1, 1e-300, \"18446744073709551615\", {}, []]",
        "{\"a\": {\"b\": {\"c\": [[[1]]]}}, \"quote\": \"\\\"\\\\\\/\\b\"}",
    };
    for (int i = 0; i < 3; i++) seeds[i] = fuzz_text(texts[i]);
    return 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    char *text = malloc(bytes + 1), *printed, *again;
    json_t *json, *second;
    FUZZ_CHECK(text);
    memcpy(text, data, bytes);
    text[bytes] = 0;
    if (json_parse(&json, "x.json", text, bytes) == STATUS_OK) {
        FUZZ_CHECK(json_print(&printed, json, bytes % 2 ? JSON_ONE_LINE : JSON_INDENTED) == STATUS_OK);
        FUZZ_CHECK(json_parse(&second, "y.json", printed, strlen(printed)) == STATUS_OK);
        FUZZ_CHECK(json_print(&again, second, bytes % 2 ? JSON_ONE_LINE : JSON_INDENTED) == STATUS_OK);
        FUZZ_CHECK(strcmp(printed, again) == 0);
        json_decref(json);
        json_decref(second);
        free(printed);
        free(again);
    }
    free(text);
    return 0;
}
