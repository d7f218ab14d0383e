/* A template, and a JSON object that it is filled from: what is filled in is at least the template's literal text. */
#include "tests/fuzz/fuzz.h"

#include "train/data/json_template.h"

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    seeds[0] = fuzz_text("{text}" FUZZ_CUT "{\"text\": \"one\"}");
    seeds[1] =
        fuzz_text("Q: {q}\\nA: {a}\\t{{{q}}}\\\\" FUZZ_CUT "{\"a\": \"\\u00e9\\ud83d\", \"q\": \"\", \"n\": [1]}");
    seeds[2] = fuzz_text("{a}{b}{c}{a}" FUZZ_CUT "{\"c\": \"x\\\"y\", \"b\": \"\\\\\", \"a\": \"long text\"}");
    return 3;
}

static char *copy_of(fuzz_piece p) {
    char *copy = malloc(p.bytes + 1);
    FUZZ_CHECK(copy);
    if (p.bytes) memcpy(copy, p.data, p.bytes);
    copy[p.bytes] = 0;
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_piece rest = {data, bytes}, template = {0}, json = {0};
    fuzz_next(&rest, &template);
    fuzz_next(&rest, &json);
    char *text = copy_of(template), *object = copy_of(json);
    json_template t = {0};
    const char *filled;
    bool is_json;
    if (json_template_parse(&t, text) == STATUS_OK &&
        json_template_fill(&filled, &is_json, &t, object, json.bytes, (json_text_place){"x", false, 1}) == STATUS_OK) {
        size_t literal = 0;
        for (int i = 0; i < t.count; i++) literal += t.parts[i].text ? t.parts[i].bytes : 0;
        FUZZ_CHECK(strlen(filled) >= literal);
    }
    json_template_free(&t);
    free(text);
    free(object);
    return 0;
}
