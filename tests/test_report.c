#include "tests/check.h"

#include <dirent.h>
#include <unistd.h>

#include "runtime/file.h"
#include "train/bill/chart.h"
#include "train/bill/report.h"

static char folder[64], page_path[128], svg_path[128];

static int setup(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tally_report_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    snprintf(page_path, sizeof page_path, "%s/report.html", folder);
    snprintf(svg_path, sizeof svg_path, "%s/loss.svg", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

static void put_bytes(const char *name, const char *text, size_t bytes) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, bytes, f), bytes);
    fclose(f);
}

static void put(const char *name, const char *text) { put_bytes(name, text, strlen(text)); }

static char *get(const char *path) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    enum { MOST = 4 << 20 };
    char *text = calloc(1, MOST);
    assert_true(fread(text, 1, MOST - 1, f) < MOST - 1);
    fclose(f);
    return text;
}

/* Every tag is closed in order; no external resource, no NaN or infinity. What scripts and styles hold is not markup. */
static void check_markup(const char *text) {
    char open[32][16];
    int depth = 0;
    for (const char *p = strchr(text, '<'); p; p = strchr(p, '<')) {
        const char *end = strchr(p, '>');
        assert_non_null(end);
        bool closing = p[1] == '/', empty = end[-1] == '/' || p[1] == '!' || !strncmp(p, "<meta ", 6);
        char name[16] = {0};
        sscanf(p + 1 + closing, "%15[a-z0-9]", name);
        if (closing && (depth == 0 || strcmp(open[--depth], name)))
            fail_msg("</%s> closes %s", name, depth >= 0 ? open[depth] : "nothing");
        if (!closing && !empty) {
            assert_true(depth < 32);
            memcpy(open[depth++], name, sizeof name);
        }
        p = end;
        if (!closing && !strcmp(name, "script")) p = strstr(p, "</script>") - 1;
    }
    assert_int_equal(depth, 0);
    static const char *const never[] = {"<link",  "<img", " src=", " href=", "@import", "\"nan",
                                        "\"-nan", ">nan", ">-nan", "$nan",   "inf<",    "Mnan"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strstr(text, never[i])) fail_msg("found %s", never[i]);
}

/* Writes and checks both outputs. The caller frees the page. */
static char *page(void) {
    OK(report_write(folder));
    OK(report_loss_svg(folder, svg_path));
    char *svg = get(svg_path), *text = get(page_path);
    check_markup(svg);
    check_markup(text);
    assert_int_equal(strncmp(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\"", 39), 0);
    free(svg);
    return text;
}

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no %s in %s", part, text);
}

static int occurrences(const char *text, const char *part) {
    int n = 0;
    for (; (text = strstr(text, part)); text += strlen(part)) n++;
    return n;
}

static void test_whole_run(void **state) {
    (void)state;
    put("metrics.jsonl",
        "{\"step\":1,\"tokens\":512,\"loss\":5.5,\"val_loss\":5.6,\"lr\":0.001,\"grad_norm\":2,\"step_ms\":10,"
        "\"tokens_per_s\":51200,\"mfu\":0.30,\"mfu_of_measured_peak\":0.4,\"memory_bytes\":1048576,\"energy_j\":1}\n"
        "{\"step\":2,\"loss\":4.25,\"val_loss\":null,\"tokens_per_s\":50000,\"mfu\":0.32,\"mfu_of_measured_peak\":0.5,"
        "\"memory_bytes\":2097152}\n"
        "{\"step\":3,\"loss\":3.125,\"tokens_per_s\":40000,\"mfu\":0.34,\"memory_bytes\":1048576}\n");
    put("ledger.json", "{\"bookings\":{\"useful_s\":75,\"startup_s\":20,\"data_wait_s\":0,\"new<kind>\":5},"
                       "\"wall_s\":100,\"usd\":0.5,\"energy_j\":7200,\"energy_source\":\"tdp-estimated\","
                       "\"tokens\":2000000,\"price_usd_per_hour\":18,\"price_source\":\"list & all, 2025\"}");
    put("config.json", "{\"model\":\"tiny <\\\"x\\\">\"}");
    static const char sample[] = "a<b>&'\"\n\xc3\xa9 \xff\xc3 \xed\xa0\x80 \0\x1b";
    put_bytes("sample.txt", sample, sizeof sample - 1);
    char *text = page();
    has(text, "<h1>tiny &lt;&quot;x&quot;&gt;</h1>");
    has(text, "<b>2.00M</b><div>in 3 steps</div>");
    has(text, "<b>1m 40s</b>");
    has(text, "<div>training loss</div><b>3.1250</b>");
    has(text, "<div>held-out loss</div><b>5.6000</b>");
    has(text, "<b>50.0k</b><div>median of the steps</div>");
    has(text, "<b>32.0%</b><div>median; 45.0% of the measured peak</div>");
    has(text, "<b>2.00 MiB</b>");
    has(text, "<b>2.0 Wh</b><div>of the devices; source: tdp-estimated</div>");
    has(text, "<b>$0.5000</b><div>at $18.00 an hour (list &amp; all, 2025)</div>");
    has(text, "<div>cost per 1M tokens</div><b>$0.2500</b>");
    has(text, "useful compute</td><td>75.00</td><td>75.0%</td><td>$0.3750</td>");
    has(text, "start-up</td><td>20.00</td><td>20.0%</td><td>$0.1000</td>");
    has(text, "data wait</td><td>0.00</td><td>0.0%</td><td>$0.0000</td>");
    has(text, "new&lt;kind&gt;</td><td>5.00</td><td>5.0%</td><td>$0.0250</td>");
    has(text, "total</td><td>100.00</td><td>100%</td><td>$0.5000</td>");
    has(text, "style=\"width:75.000%\" title=\"useful compute 75.0%\"");
    assert_int_equal(occurrences(text, "style=\"width:"), 3); /* nothing was booked to data wait */
    assert_int_equal(occurrences(text, "role=\"img\""), 6);   /* loss, rate, utilisation, learning rate, norm, power */
    has(text, "Not recorded: Cost by ledger entry, Drift from the plan, GPU clocks, GPU temperature, Waiting for ");
    has(text, "\"LOSS\":[5.5,4.25,3.125]");
    has(text, "\"VAL_LOSS\":[5.6,null,null]");
    has(text, "\"WATTS\":[100,null,null]");
    has(text, "<title>held out 5.6, step 1</title>");
    assert_int_equal(occurrences(text, "<title>held out"), 1);
    /* bytes that are not UTF-8, and control characters */
    has(text, "<pre>a&lt;b&gt;&amp;&#39;&quot;\n\303\251 \357\277\275\357\277\275 "
              "\357\277\275\357\277\275\357\277\275 \357\277\275\357\277\275</pre>");
    free(text);
}

static void test_only_our_files_are_left(void **state) {
    (void)state;
    put("metrics.jsonl", "{\"step\":1,\"loss\":2}\n");
    for (int i = 0; i < 2; i++) free(page());
    DIR *d = opendir(folder);
    int entries = 0;
    while (readdir(d)) entries++;
    closedir(d);
    assert_int_equal(entries, 2 + 3); /* . and .., metrics, page, picture */
}

static void test_next_to_nothing_is_known(void **state) {
    (void)state;
    static const char *const metrics[] = {"",
                                          "\n \r\n",
                                          "{}",
                                          "{\"step\":7,\"loss\":null}\n",
                                          "{\"step\":\"x\",\"loss\":\"1\",\"mfu\":[],\"tokens_per_s\":{}}\n{}",
                                          "{\"step\":1,\"loss\":1e300,\"memory_bytes\":-1e300}"};
    static const char *const ledgers[] = {
        NULL,
        "{}",
        "{\"bookings\":null,\"usd\":\"1\",\"tokens\":[0],\"wall_s\":null,\"energy_source\":3}",
        "{\"bookings\":[1,2]}",
        "{\"bookings\":\"x\"}",
        "{\"bookings\":{\"useful_s\":null,\"lost_s\":-1,\"checkpoint_s\":0}}"};
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        for (size_t k = 0; k < sizeof ledgers / sizeof *ledgers; k++) {
            put("metrics.jsonl", metrics[i]);
            if (ledgers[k]) put("ledger.json", ledgers[k]);
            char *text = page();
            assert_int_equal(occurrences(text, "<b>not known</b>"), 10);
            assert_int_equal(occurrences(text, "not known: no step has recorded it"), 2);
            has(text, "not known: the run has booked no time");
            has(text, folder); /* no model: the folder names the run */
            assert_null(strstr(text, "<pre>"));
            free(text);
            char path[128];
            snprintf(path, sizeof path, "%s/ledger.json", folder);
            unlink(path);
        }
}

static void test_cost_not_known(void **state) {
    (void)state;
    put("metrics.jsonl", "{\"step\":1,\"loss\":2}\n");
    put("ledger.json", "{\"bookings\":{\"useful_s\":3},\"tokens\":10,\"energy_j\":5}");
    char *text = page();
    has(text, "useful compute</td><td>3.00</td><td>100.0%</td><td>not known</td>");
    has(text, "<b>5 J</b><div>of the devices; source: not known</div>");
    has(text, "<b>not known</b><div>price: not known</div>");
    free(text);
    put("ledger.json", "{\"bookings\":{\"useful_s\":3},\"tokens\":0,\"usd\":0}"); /* 0 dollars for 0 tokens: unknown */
    text = page();
    has(text, "<div>tokens</div><b>0</b>");
    has(text, "<div>cost</div><b>$0.00</b>");
    has(text, "<div>cost per 1M tokens</div><b>not known</b>");
    free(text);
}

/* after a crash, steps from the checkpoint on are repeated: lost steps are not drawn */
static void test_steps_done_again_replace_the_lost(void **state) {
    (void)state;
    put("metrics.jsonl",
        "{\"step\":1,\"loss\":5,\"val_loss\":5}\n{\"step\":2,\"loss\":4}\n"
        "{\"step\":3,\"loss\":99,\"val_loss\":98}\n{\"step\":2,\"loss\":4}\n{\"step\":3,\"loss\":3}\n");
    char *text = page();
    has(text, "in 3 steps");
    has(text, "<title>held out 5, step 1</title>");
    assert_null(strstr(text, "held out 98"));
    has(text, ">5.0</text>"); /* the highest tick */
    free(text);
}

static void test_odd_curves(void **state) {
    (void)state;
    static const char *const metrics[] = {
        "{\"step\":5,\"loss\":3}\n",
        "{\"step\":5,\"loss\":0}\n{\"step\":6,\"loss\":0}\n",
        "{\"step\":1,\"loss\":-3,\"tokens_per_s\":-5}\n{\"step\":2,\"loss\":null}\n{\"step\":3,\"loss\":-2.5}\n",
        "{\"step\":1,\"loss\":1e17}\n{\"step\":100000000000,\"loss\":1e-17}\n",
        "{\"step\":100000000000000000,\"loss\":1e17}\n{\"step\":100000000000000016,\"loss\":100000000000000016}\n",
        "{\"step\":1,\"loss\":0}\n{\"step\":2,\"loss\":5e-324}\n",
        "{\"step\":-5,\"loss\":1e-9}\n{\"step\":0.5,\"loss\":1.000000001e-9}\n",
    };
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        put("metrics.jsonl", metrics[i]);
        free(page());
    }
}

static void test_long_run_makes_a_small_page_with_its_spike(void **state) {
    (void)state;
    enum { STEPS = 50000 };
    char *text = malloc(STEPS * 80);
    int bytes = 0;
    for (int i = 0; i < STEPS; i++)
        bytes += sprintf(text + bytes, "{\"step\":%d,\"loss\":%.3f,\"val_loss\":2.5,\"tokens_per_s\":%d}\n", i,
                         i == 31234 ? 9.0 : 2 + i % 13 * 0.01, 1000 + i % 7);
    put_bytes("metrics.jsonl", text, (size_t)bytes);
    free(text);
    text = page();
    assert_true(strlen(text) < 400000);
    has(text, "in 50000 steps");
    has(text, "median of one step in 32");
    has(text, "<title>held out 2.5, step 49999</title>");
    /* the axis ends at 9, and the curve touches its top: TOP of chart.c */
    has(text, ">9</text>");
    has(text, " 34.0L");
    free(text);
}

/* Only damaged lines are lost. */
static void test_damaged_files(void **state) {
    (void)state;
    static const char *const damaged[] = {"{\"step\":2,\"lo\n", "{\"step\":2} x\n", "nonsense\n", "[]\n", "3\n",
                                          "{\"loss\":nan}\n"};
    static const char *const objects[] = {"", "{\"bookings\":{", "[]", "model"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"step\":1,\"loss\":7}\n%s{\"step\":3,\"loss\":2.5}\n", damaged[i]);
        put("metrics.jsonl", text);
        put("ledger.json", objects[i % 4]);
        put("config.json", objects[(i + 1) % 4]);
        char *shown = page();
        has(shown, "in 2 steps");
        has(shown, "<b>2.5000</b>");
        has(shown, "not known: the run has booked no time");
        has(shown, folder);
        free(shown);
    }
}

/* killed in the middle of a line, and resumed since: neither is a step */
static void test_torn_line_and_events(void **state) {
    (void)state;
    put("metrics.jsonl", "{\"step\":1,\"loss\":2.5}\n{\"event\":\"resume\",\"step\":1}\n{\"step\":2,\"lo");
    OK(report_write(folder));
    char *page = NULL;
    size_t bytes;
    OK(file_read(page_path, &page, &bytes));
    assert_non_null(strstr(page, "in 1 steps"));
    assert_non_null(strstr(page, "2.5"));
    free(page);
}

static void test_folder_without_a_run(void **state) {
    (void)state;
    status_code st = report_write(folder);
    assert_int_not_equal(st, STATUS_OK);
    assert_non_null(strstr(status_message(), "metrics.jsonl"));
    put("metrics.jsonl", "{}\n");
    st = report_loss_svg(folder, "/nowhere/at/all.svg");
    assert_int_not_equal(st, STATUS_OK);
    assert_non_null(strstr(status_message(), "/nowhere/at/all.svg"));
}

static void check_text(const char *from, size_t bytes, const char *to) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    chart_text(out, from, bytes);
    fclose(out);
    assert_string_equal(text, to);
    free(text);
}

static void test_text_is_escaped(void **state) {
    (void)state;
    static const char *const whole[] = {"plain\ttext\n", "\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",
                                        "\xed\x9f\xbf",  "\xef\xbf\xbd", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) check_text(whole[i], strlen(whole[i]), whole[i]);
    check_text("<&>\"'", 5, "&lt;&amp;&gt;&quot;&#39;");
    /* continuation alone, overlong forms, surrogate, beyond U+10FFFF, cut short: each byte is replaced */
    static const char *const broken[] = {
        "\x80",     "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff",
        "\xe2\x82", "\r",       "\x7f"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char expected[16] = {0};
        for (size_t k = 0; k < strlen(broken[i]); k++) strcat(expected, "\xef\xbf\xbd");
        check_text(broken[i], strlen(broken[i]), expected);
    }
}

int main(void) {
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_whole_run),
        WITH_FOLDER(test_only_our_files_are_left),
        WITH_FOLDER(test_next_to_nothing_is_known),
        WITH_FOLDER(test_cost_not_known),
        WITH_FOLDER(test_steps_done_again_replace_the_lost),
        WITH_FOLDER(test_odd_curves),
        WITH_FOLDER(test_long_run_makes_a_small_page_with_its_spike),
        WITH_FOLDER(test_damaged_files),
        WITH_FOLDER(test_torn_line_and_events),
        WITH_FOLDER(test_folder_without_a_run),
        cmocka_unit_test(test_text_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
