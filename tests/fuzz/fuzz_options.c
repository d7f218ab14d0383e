/* A file for --config and words of a command line. What is accepted is written as a file that gives the same values. */
#include "tests/fuzz/fuzz.h"

#include <math.h>

#include "runtime/options.h"

typedef struct {
    char *config, *out;
    i64 steps, seed;
    double lr, clip;
    int shard;
    bool plan;
    string_list data;
} settings;

#define AT(field) offsetof(settings, field)
static const option table[] = {
    {"config", OPT_STRING, AT(config), NULL, "FILE", "", NULL, 0, 0, "", true},
    {"out", OPT_STRING, AT(out), NULL, "RUN", "", NULL, 0, 0, "", false},
    {"steps", OPT_I64, AT(steps), "1000", "N", "", NULL, 0, 1e12, "", false},
    {"seed", OPT_I64, AT(seed), "1", "N", "", NULL, 0, 0, "", false},
    {"lr", OPT_F64, AT(lr), "1e-3", "X", "", NULL, 0, 100, "", false},
    {"clip-norm", OPT_F64, AT(clip), NULL, "X", "", NULL, 0, INFINITY, "", false},
    {"shard", OPT_CHOICE, AT(shard), "full", "STAGE", "", "none|optimizer|full", 0, 0, "", false},
    {"plan", OPT_FLAG, AT(plan), NULL, NULL, "", NULL, 0, 0, "", false},
    {"data", OPT_LIST, AT(data), NULL, "PATH", "", NULL, 0, 0, "", false},
};
enum { ROWS = sizeof table / sizeof *table, WORDS = 32 };

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    seeds[0] = fuzz_text(
        "{\"steps\": 10, \"lr\": 0.5, \"clip_norm\": null, \"shard\": \"none\", \"plan\": true, \"out\": \"r\", "
        "\"data\": [\"a\", \"b\"], \"seed\": \"9223372036854775807\"}" FUZZ_CUT "--steps\n1e6\n--no-plan");
    seeds[1] =
        fuzz_text(FUZZ_CUT "--steps=512k\n--lr\n3e-4\n--data\na\nb\n--plan\n--shard\noptimizer\n--out\nx\n--seed\n-5");
    seeds[2] = fuzz_text("{}" FUZZ_CUT "--clip-norm\n1.5\n--\nword");
    return 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_piece rest = {data, bytes}, file, words = {0};
    fuzz_next(&rest, &file);
    fuzz_put("run.json", file.data, file.bytes);
    char name[] = "--config", path[256], again[256], *argv[WORDS + 2] = {name, path};
    int argc = file.bytes ? 2 : 0;
    snprintf(path, sizeof path, "%s", fuzz_path("run.json"));
    snprintf(again, sizeof again, "%s", fuzz_path("again.json"));
    fuzz_next(&rest, &words);
    char *text = calloc(words.bytes + 1, 1), *at = NULL;
    FUZZ_CHECK(text);
    if (words.bytes) memcpy(text, words.data, words.bytes);
    for (char *w = strtok_r(text, "\n", &at); w && argc < WORDS; w = strtok_r(NULL, "\n", &at)) argv[argc++] = w;
    options o, p;
    settings s, t;
    if (options_parse(&o, table, ROWS, &s, argc, argv) == STATUS_OK) {
        json_t *first, *second;
        char *printed;
        FUZZ_CHECK(s.steps >= 0 && s.steps <= 1000000000000 && s.lr >= 0 && s.lr <= 100 && s.shard >= 0 && s.shard < 3);
        FUZZ_CHECK(options_to_json(&first, &o) == STATUS_OK);
        FUZZ_CHECK(json_print(&printed, first, JSON_INDENTED) == STATUS_OK);
        fuzz_put("again.json", printed, strlen(printed));
        FUZZ_CHECK(options_parse(&p, table, ROWS, &t, 2, (char *[]){name, again}) == STATUS_OK);
        FUZZ_CHECK(options_to_json(&second, &p) == STATUS_OK);
        FUZZ_CHECK(json_equal(first, second));
        options_free(&p);
        json_decref(first);
        json_decref(second);
        free(printed);
    }
    options_free(&o);
    free(text);
    return 0;
}
