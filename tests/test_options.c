#include "runtime/options_changes.h"

#include <unistd.h>

#include "tests/check.h"

#define SHARD_LIST(X)                                                                                                  \
    X(SHARD_NONE, "none") X(SHARD_OPTIMIZER, "optimizer") X(SHARD_GRADIENTS, "gradients") X(SHARD_FULL, "full")
enum { SHARD_LIST(CHOICES_VALUE) };

typedef struct {
    char *config, *model, *out;
    i64 steps, seed, warmup;
    double lr, clip;
    int shard;
    bool help, compile, plan;
    string_list data;
} settings;

#define AT(member) OPTION_AT(settings, member)
static const option table[] = {
    {AT(config), .group = "General", .name = "config", .argument = "FILE", .help = "options from a file",
     .not_in_file = true},
    {AT(help), .name = "help", .help = "this text", .not_in_file = true},
    {AT(out), .name = "out", .argument = "DIR", .help = "folder of the run"},
    {AT(steps), .group = "Training", .name = "steps", .default_text = "1k", .argument = "N", .help = "optimizer steps",
     .min = 1, .max = INFINITY},
    {AT(seed), .name = "seed", .default_text = "0", .argument = "N", .help = "of weights and of the order of the data"},
    {AT(warmup), .name = "warmup-steps", .argument = "N", .min = 0, .max = INFINITY,
     .help =
         "steps over which the learning rate rises from zero to its peak, along a straight line; a hundredth of all "
         "steps where not given, which suits most runs of this kind"},
    {AT(lr), .name = "lr", .default_text = "3e-4", .argument = "X", .help = "peak learning rate", .min = 0, .max = 1},
    {AT(clip), .name = "grad-clip", .default_text = "1", .argument = "X", .help = "largest norm of the gradient",
     .min = 0, .max = INFINITY},
    {AT(shard), .name = "shard", .default_text = "none", .choices = CHOICES_TEXT(SHARD_LIST), .help = "what is split"},
    {AT(compile), .name = "compile", .default_text = "on", .help = "fuse"},
    {AT(plan), .name = "plan", .help = "stop before the first step"},
    {AT(model), .group = "Model", .name = "model", .default_text = "gpt2-124m", .argument = "NAME",
     .help = "preset, or a Hugging Face config.json"},
    {AT(data), .name = "data", .argument = "PATH", .help = "files or folders"},
};
enum { ROWS = sizeof table / sizeof *table };

#define PARSE(o, s, ...)                                                                                               \
    options_parse(o, table, ROWS, s, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), (char *[]){__VA_ARGS__})

#define REFUSED(code, message, ...)                                                                                    \
    do {                                                                                                               \
        options bad_;                                                                                                  \
        settings ignored_;                                                                                             \
        FAILS(code, message, PARSE(&bad_, &ignored_, __VA_ARGS__));                                                    \
        options_free(&bad_);                                                                                           \
    } while (0)

static const char *file_of(const char *text) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/test_options_%d.json", (int)getpid());
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    return path;
}

static void defaults(void **state) {
    (void)state;
    options o;
    settings s;
    memset(&s, 0xff, sizeof s);
    OK(options_parse(&o, table, ROWS, &s, 0, NULL));
    assert_string_equal(s.model, "gpt2-124m");
    assert_null(s.out);
    assert_true(s.steps == 1000 && s.seed == 0 && s.warmup == 0 && s.lr == 3e-4 && s.clip == 1);
    assert_true(s.shard == SHARD_NONE && s.compile && !s.plan && s.data.count == 0 && o.words.count == 0);
    assert_false(options_given(&o, "steps"));
    options_free(&o);
    options_free(&o); /* twice is harmless */
}

static void command_line(void **state) {
    (void)state;
    options o;
    settings s;
    OK(PARSE(&o, &s, "first", "--steps", "512k", "--lr=-0", "--shard", "full", "--no-compile", "--plan", "--data", "a",
             "b", "--seed", "-5", "--data=c", "second", "--out", "-x", "--steps", "2M", "--", "--steps", "-"));
    assert_true(s.steps == 2000000 && s.lr == 0 && s.shard == SHARD_FULL && !s.compile && s.plan && s.seed == -5);
    assert_int_equal(s.data.count, 3);
    assert_string_equal(s.data.list[2], "c");
    assert_string_equal(s.out, "-x");
    assert_int_equal(o.words.count, 4);
    assert_string_equal(o.words.list[1], "second");
    assert_string_equal(o.words.list[2], "--steps");
    assert_true(options_given(&o, "steps") && options_given(&o, "compile") && options_given(&o, "data"));
    assert_false(options_given(&o, "model"));
    options_free(&o);
    OK(PARSE(&o, &s, "-h"));
    assert_true(s.help);
    options_free(&o);
}

static void integers(void **state) {
    (void)state;
    static const struct {
        char *text;
        i64 value;
    } good[] = {{"524288", 524288},
                {"1e6", 1000000},
                {"0.5M", 500000},
                {"1.25e2", 125},
                {"2G", 2000000000},
                {"+7", 7},
                {"9007199254740993", 9007199254740993},
                {"9223372036854775807", INT64_MAX},
                {"-3k", -3000},
                {"1500e-2", 15},
                {"0e99", 0},
                {"10.", 10},
                {"1e3k", 1000000}};
    options o;
    settings s;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        OK(PARSE(&o, &s, "--seed", good[i].text));
        if (s.seed != good[i].value) fail_msg("%s is read as %ld", good[i].text, s.seed);
        options_free(&o);
    }
    static char *const bad[] = {
        "",   "abc",  "1.5", "1e-1", "9223372036854775808",     "1e19", "0.0001k", "12x", "nan", "0x10", "1 ", " 1",
        "1e", "1e 5", "k",   ".",    "1e999999999999999999999", "1kk",  "--5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char word[64];
        snprintf(word, sizeof word, "--seed=%s", bad[i]);
        REFUSED(ARG, "expected an integer", word);
    }
}

static void refuses_bad_words(void **state) {
    (void)state;
    REFUSED(ARG, "--stesp: unknown option; the nearest is --steps", "--stesp", "5");
    REFUSED(ARG, "--stesp: unknown option; the nearest is --steps", "--stesp=5");
    REFUSED(ARG, "-s: unknown option", "-s");
    REFUSED(ARG, "--no-steps: unknown option; the nearest is", "--no-steps");
    REFUSED(ARG, "--grad_clip: unknown option; the nearest is --grad-clip", "--grad_clip", "1");
    REFUSED(ARG, "--steps: found nothing, expected N", "--steps");
    REFUSED(ARG, "--steps: found --lr, expected N", "--steps", "--lr", "1");
    REFUSED(ARG, "--shard: found nothing, expected none|optimizer|gradients|full", "--shard");
    REFUSED(ARG, "--data: found --lr, expected PATH", "--data", "--lr", "1");
    REFUSED(ARG, "--steps is 0, expected an integer of 1 or more", "--steps", "0");
    REFUSED(ARG, "--lr is 2, expected a number from 0 to 1", "--lr", "2");
    REFUSED(ARG, "--lr is nan, expected a number", "--lr", "nan");
    REFUSED(ARG, "--lr is 1e999, expected a number", "--lr", "1e999");
    REFUSED(ARG, "--lr is 0x1p-3, expected a number", "--lr", "0x1p-3");
    REFUSED(ARG, "--lr is \"\", expected a number", "--lr=");
    REFUSED(ARG, "--lr is 1e-400, expected a number", "--lr", "1e-400");
    REFUSED(ARG, "--steps is \"\", expected an integer", "--steps", "");
    REFUSED(ARG, "--steps is \" 5\", expected an integer", "--steps", " 5");
    REFUSED(ARG, "--steps is 5abc, expected an integer", "--steps", "5abc");
    REFUSED(ARG, "--steps is 1e-400, expected an integer", "--steps", "1e-400");
    REFUSED(ARG, "--out is \"\", expected", "--out", "");
    REFUSED(ARG, "--data is \"\", expected", "--data", "a", "");
    REFUSED(ARG, "--steps is \\x1b]0;title\\x07, expected", "--steps", "\033]0;title\007");
    REFUSED(ARG, "--shard is ful, expected none|optimizer|gradients|full", "--shard", "ful");
    REFUSED(ARG, "--shard is none|optimizer, expected", "--shard", "none|optimizer");
    REFUSED(ARG, "--plan=yes: takes no value; write --plan or --no-plan", "--plan=yes");
}

static void refuses_bad_files(void **state) {
    (void)state;
#define FILE_REFUSED(text, message) REFUSED(DATA, message, "--config", (char *)file_of(text))
    FILE_REFUSED("{\"stesp\": 1}", ".json: key \"stesp\": unknown; the nearest is \"steps\"");
    FILE_REFUSED("{\"grad_clp\": 1}", "the nearest is \"grad_clip\"");
    FILE_REFUSED("{\"grad-clip\": 1}", "key \"grad-clip\": unknown; the nearest is \"grad_clip\"");
    FILE_REFUSED("{\"config\": \"x\"}", "key \"config\": is allowed on the command line only");
    FILE_REFUSED("{\"steps\": \"ten\"}", "\"steps\" is \"ten\", expected an integer");
    FILE_REFUSED("{\"steps\": 1.5}", "\"steps\" is 1.5, expected an integer");
    FILE_REFUSED("{\"steps\": 0}", "\"steps\" is 0, expected an integer of 1 or more");
    FILE_REFUSED("{\"lr\": 1e999}", ": the number 1e999 is too large for a double");
    FILE_REFUSED("{\"lr\": NaN}", ":1:8: found NaN");
    FILE_REFUSED("{\"lr\": 1.5}", "\"lr\" is 1.5, expected a number from 0 to 1");
    FILE_REFUSED("{\"lr\": \"1\"}", "\"lr\" is \"1\", expected a number");
    FILE_REFUSED("{\"shard\": \"ful\"}", "\"shard\" is ful, expected none|optimizer|gradients|full");
    FILE_REFUSED("{\"compile\": 1}", "\"compile\" is 1, expected true or false");
    FILE_REFUSED("{\"lr\": 1e-400}", "the number 1e-400 is too small for a double");
    FILE_REFUSED("{\"out\": \"\"}", "\"out\" is \"\", expected");
    FILE_REFUSED("{\"data\": [\"\"]}", "\"data\" is \"\", expected");
    FILE_REFUSED("{\"data\": \"a\"}", "\"data\" is \"a\", expected an array");
    FILE_REFUSED("{\"data\": [\"a\", 1]}", "\"data\": found an element that is not a string, expected strings only");
    FILE_REFUSED("{\"steps\": 1, \"steps\": 2}", ":1:14: found \"steps\": 2}, expected JSON (duplicate object key)");
    FILE_REFUSED("[]", "expected a JSON object");
    REFUSED(DATA, "absent.json: No such file", "--config", "absent.json");
    unlink(file_of(""));
}

static void command_line_overrides_file(void **state) {
    (void)state;
    options o;
    settings s;
    const char *path =
        file_of("{\"steps\": 7, \"lr\": 0.5, \"data\": [\"x\", \"y\"], \"compile\": false, \"out\": null,"
                "\"shard\": \"optimizer\", \"model\": \"tiny\", \"warmup_steps\": 3}");
    OK(PARSE(&o, &s, "--steps", "9", "--data", "z", "--config", (char *)path, "--data", "w", "--compile"));
    assert_true(s.steps == 9 && s.lr == 0.5 && s.compile && s.shard == SHARD_OPTIMIZER && s.warmup == 3);
    assert_int_equal(s.data.count, 2);
    assert_string_equal(s.data.list[0], "z");
    assert_string_equal(s.model, "tiny");
    assert_true(options_given(&o, "lr") && !options_given(&o, "out") && !options_given(&o, "seed"));
    options_free(&o);
    unlink(path);
}

/* a positional argument behind a list */
static void a_word_behind_a_list(void **state) {
    (void)state;
    options o;
    settings s;
    OK(PARSE(&o, &s, "--data", "a", "b", "run", "--steps", "3"));
    OK(options_take_word(&o, "data"));
    assert_true(o.words.count == 1 && s.data.count == 2);
    assert_string_equal(o.words.list[0], "run");
    assert_string_equal(s.data.list[1], "b");
    options_free(&o);
    OK(PARSE(&o, &s, "run", "--data", "a", "b")); /* it is there */
    OK(options_take_word(&o, "data"));
    assert_true(o.words.count == 1 && s.data.count == 2);
    options_free(&o);
    OK(PARSE(&o, &s, "--data", "a")); /* the list keeps one */
    OK(options_take_word(&o, "data"));
    assert_true(o.words.count == 0 && s.data.count == 1);
    options_free(&o);
    const char *path = file_of("{\"data\": [\"a\", \"b\"]}"); /* a file's list is a list */
    OK(PARSE(&o, &s, "--config", (char *)path));
    OK(options_take_word(&o, "data"));
    assert_true(o.words.count == 0 && s.data.count == 2);
    options_free(&o);
    unlink(path);
}

static void written_values_read_back(void **state) {
    (void)state;
    options o, again;
    settings s, t;
    OK(PARSE(&o, &s, "--seed", "9223372036854775807", "--lr", "0.10000000000000002", "--data", "a b", "c\"d",
             "--shard=full", "--plan", "--model", "my model"));
    json_t *json, *json_again;
    char *text, *text_again;
    OK(options_to_json(&json, &o));
    OK(json_print(&text, json, JSON_INDENTED));
    OK(PARSE(&again, &t, "--config", (char *)file_of(text)));
    assert_true(t.seed == INT64_MAX && t.lr == s.lr && t.shard == SHARD_FULL && t.plan && t.compile && !t.out);
    assert_int_equal(t.data.count, 2);
    assert_string_equal(t.data.list[1], "c\"d");
    assert_false(options_given(&again, "warmup-steps")); /* it has no default: null means not given */
    OK(options_to_json(&json_again, &again));
    OK(json_print(&text_again, json_again, JSON_INDENTED));
    assert_string_equal(text, text_again);
    json_decref(json), json_decref(json_again), free(text), free(text_again);
    options_free(&o), options_free(&again);
    unlink(file_of(""));
}

static void changes_are_a_line_each(void **state) {
    (void)state;
    options a, b;
    settings s, t;
    char *lines;
    OK(PARSE(&a, &s, "--steps", "20", "--data", "x", "--lr", "0.1", "--seed", "9223372036854775807"));
    OK(PARSE(&b, &t, "--steps", "40", "--data", "x", "y", "--lr", "0.1", "--seed", "9223372036854775806",
             "--warmup-steps", "5", "--shard", "full", "--no-compile", "--help"));
    OK(options_changes(&lines, &a, &b));
    assert_string_equal(lines, "--steps was 20, is now 40\n--seed was 9223372036854775807, is now 9223372036854775806\n"
                               "--warmup-steps was not given, is now 5\n--shard was none, is now full\n"
                               "--compile was on, is now off\n--data was x, is now x y\n");
    free(lines);
    options_unset(&b, "warmup-steps");
    assert_false(options_given(&b, "warmup-steps"));
    OK(options_changes(&lines, &b, &b));
    assert_string_equal(lines, "");
    free(lines), options_free(&a), options_free(&b);
}

static void help_is_grouped_and_narrow(void **state) {
    (void)state;
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    options_print_help(out, table, ROWS);
    fclose(out);
    assert_non_null(strstr(text, "General\n  --config FILE                 options from a file\n"));
    assert_non_null(strstr(text, "  --out DIR                     folder of the run\n\nTraining\n"));
    assert_non_null(strstr(text, "  --steps N                     optimizer steps (default 1k)\n"));
    assert_non_null(strstr(
        text,
        "  --shard none|optimizer|gradients|full\n                                what is split (default none)\n"));
    assert_non_null(strstr(text, "  --data PATH...                files or folders\n"));
    assert_non_null(strstr(text, "  --[no-]compile                fuse (default on)\n"));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) assert_true(strlen(line) <= 100);
    free(text);
}

static void table_for_scripts(void **state) {
    (void)state;
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    options_print_table(out, table, ROWS);
    fclose(out);
    static const char *const lines[] = {
        "config\ttext\tFILE\t\t\t\t\tGeneral\toptions from a file\n", /* no key: it is not in the file */
        "steps\tinteger\tN\t1k\t1\t\tsteps\tTraining\toptimizer steps\n",
        "lr\tnumber\tX\t3e-4\t0\t1\tlr\tTraining\tpeak learning rate\n",
        "grad-clip\tnumber\tX\t1\t0\t\tgrad_clip\tTraining\tlargest norm of the gradient\n",
        "shard\tchoice\tnone|optimizer|gradients|full\tnone\t\t\tshard\tTraining\twhat is split\n",
        "compile\tflag\t\ton\t\t\tcompile\tTraining\tfuse\n",
        "data\tlist\tPATH\t\t\t\tdata\tModel\tfiles or folders\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i])) fail_msg("missing: %s", lines[i]);
    int newlines = 0;
    for (const char *c = text; *c; c++) newlines += *c == '\n';
    assert_int_equal(newlines, ROWS);
    free(text);
}

static void choices_from_one_list(void **state) {
    (void)state;
    const char *choices = CHOICES_TEXT(SHARD_LIST);
    assert_string_equal(choices, "none|optimizer|gradients|full");
    assert_int_equal(options_choice(choices, "none"), SHARD_NONE);
    assert_int_equal(options_choice(choices, "full"), SHARD_FULL);
    assert_int_equal(options_choice(choices, "ful"), -1);
    assert_int_equal(options_choice(choices, ""), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(command_line),
        cmocka_unit_test(integers),
        cmocka_unit_test(refuses_bad_words),
        cmocka_unit_test(refuses_bad_files),
        cmocka_unit_test(command_line_overrides_file),
        cmocka_unit_test(a_word_behind_a_list),
        cmocka_unit_test(written_values_read_back),
        cmocka_unit_test(changes_are_a_line_each),
        cmocka_unit_test(help_is_grouped_and_narrow),
        cmocka_unit_test(table_for_scripts),
        cmocka_unit_test(choices_from_one_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
