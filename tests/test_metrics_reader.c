#include "runtime/durable.h"
#include "runtime/path.h"
#include "train/bill/metrics_reader.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file.h"
#include "tests/check.h"
#include "train/bill/metrics_rewind.h"

static char folder[] = "/tmp/test_metrics_reader_XXXXXX";
static path_text path, log_path;

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return 1;
    path = path_join(folder, "metrics.jsonl");
    log_path = path_join(folder, "log");
    return 0;
}

static int remove_all(void **state) {
    (void)state;
    return durable_remove_folder(folder) != STATUS_OK;
}

static void put(const char *text, size_t bytes) { OK(durable_write_file(path.text, text, bytes)); }

/* the standard error of `act` */
static char *told_by(void (*act)(void *), void *with) {
    int fd = open(log_path.text, O_RDWR | O_CREAT | O_TRUNC, 0600), old = dup(2);
    char *text;
    size_t bytes;
    fflush(stderr);
    dup2(fd, 2);
    act(with);
    fflush(stderr);
    dup2(old, 2);
    close(fd), close(old);
    OK(file_read(log_path.text, &text, &bytes));
    return text;
}

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no \"%s\" in \"%s\"", part, text);
}

/* ---- reading ---- */

typedef struct {
    double steps[64];
    int count, events;
} seen;

static void read_all(void *with) {
    seen *s = with;
    metrics_reader *r;
    metrics_line line;
    bool more;
    *s = (seen){0};
    OK(metrics_reader_open(&r, path.text));
    for (;;) {
        OK(metrics_reader_next(r, &line, &more));
        if (!more) break;
        s->events += line.event;
        if (!line.event) s->steps[s->count++ % 64] = line.step;
    }
    metrics_reader_close(r);
}

#define BYTES(text) text, sizeof text - 1

static void a_damaged_line_costs_only_itself(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
        int good; /* lines of steps 1, 3 (and 4) */
        const char *told;
    } cases[] = {
        {BYTES("{\"step\":1}\n{\"step\":2,\"lo\n{\"step\":3}\n"), 2,
         "line 2 (byte 11) is not a JSON object and was skipped"},
        {BYTES("{\"step\":1}\n{\"step\":2} x\n{\"step\":3}\n"), 2, "line 2 (byte 11) is not a JSON object"},
        {BYTES("{\"step\":1}\n[]\n{\"step\":3}\n"), 2, "line 2 (byte 11) is not a JSON object"},
        {BYTES("{\"step\":1}\n{\"step\":2,\"step\":3}\n{\"step\":3}\n"), 2, "line 2 (byte 11) is not a JSON object"},
        {BYTES("{\"step\":1}\n\0\0\0\n{\"step\":3}\n"), 2, "line 2 (byte 11) begins with 3 NUL bytes"},
        {BYTES("{\"step\":1}\n\0\0\0{\"step\":3}\n"), 2, "line 2 (byte 11) begins with 3 NUL bytes"},
        {BYTES("{\"step\":1}\n{\"st\0\0\":2}\n{\"step\":3}\n"), 2,
         "line 2 (byte 11) contains NUL bytes and was skipped"},
        {BYTES("{\"step\":1}\n\n \r\n{\"step\":3}\n"), 2, "the line of step 2 is missing"},
        {BYTES("{\"step\":1}\n{\"step\":3}"), 2, "the line of step 2 is missing"},
        {BYTES("{\"step\":1}\n{\"step\":3}\n{\"step\":"), 2, "line 3 (byte 22) is incomplete and was skipped"},
        {BYTES("{\"step\":1}\n{\"event\":\"resume\",\"step\":1}\n{\"step\":3}\n\0\0\0"), 2,
         "line 4 (byte 50) begins with 3 NUL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        seen s;
        put(cases[i].text, cases[i].bytes);
        char *told = told_by(read_all, &s);
        has(told, cases[i].told);
        has(told, "the line of step 2 is missing");
        assert_int_equal(s.count, cases[i].good);
        assert_true(s.steps[0] == 1 && s.steps[1] == 3);
        free(told);
    }
}

static void what_is_whole_is_read_in_silence(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        "\n",
                                        "{\"step\":1}\n{\"step\":2}\n",
                                        "{\"step\":1}\n{\"step\":2}\n{\"step\":2}\n",
                                        "{\"loss\":1}\n{}\n",
                                        "{\"event\":\"x\"}\n{\"step\":0}\n{\"step\":1}\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        seen s;
        put(texts[i], strlen(texts[i]));
        char *told = told_by(read_all, &s);
        assert_string_equal(told, "");
        free(told);
    }
    metrics_reader *r;
    FAILS(DATA, "absent", metrics_reader_open(&r, path_join(folder, "absent").text));
    FAILS(DATA, "is a folder, expected a regular file", metrics_reader_open(&r, folder));
}

/* Lines of every length around the reader's buffer; then one that is too long, and a hole as long. */
static void long_lines_and_holes(void **state) {
    (void)state;
    enum { HOLE = 3 << 20, LIMIT = 64 << 10 };
    char *text = malloc(HOLE + 1000);
    seen s;
    for (int length = LIMIT - 20; length < LIMIT + 20; length++) {
        int n = sprintf(text, "{\"step\":1}\n{\"step\":2,\"x\":\"");
        memset(text + n, 'x', (size_t)(length - 16));
        n += length - 16;
        n += sprintf(text + n, "\"}\n{\"step\":3}\n");
        put(text, (size_t)n);
        char *told = told_by(read_all, &s);
        int line = (int)(strchr(text + 11, '\n') - (text + 11));
        assert_int_equal(s.count, line < LIMIT ? 3 : 2);
        if (line >= LIMIT) has(told, "line 2 (byte 11) is longer than 64 KiB and was skipped");
        free(told);
    }
    for (int fill = 0; fill < 2; fill++) {
        int n = sprintf(text, "{\"step\":1}\n");
        memset(text + n, fill ? 'x' : 0, HOLE);
        n += HOLE;
        n += sprintf(text + n, fill ? "\n{\"step\":2}\n" : "{\"step\":2}\n");
        put(text, (size_t)n);
        char *told = told_by(read_all, &s);
        assert_int_equal(s.count, 2);
        has(told, fill ? "is longer than 64 KiB" : "line 2 (byte 11) begins with 3145728 NUL bytes");
        free(told);
    }
    free(text);
}

static void much_damage_is_told_in_few_lines(void **state) {
    (void)state;
    char *text = malloc(1 << 20);
    int n = 0, lines = 0;
    seen s;
    for (int i = 0; i < 1000; i++) n += sprintf(text + n, "x\n{\"step\":%d}\n", 2 * i + 2);
    put(text, (size_t)n);
    free(text);
    char *told = told_by(read_all, &s);
    for (char *c = told; *c; c++) lines += *c == '\n';
    assert_int_equal(s.count, 1000);
    assert_int_equal(lines, 12);
    has(told, "995 more damaged lines were skipped");
    has(told, "995 more gaps in the steps");
    free(told);
}

/* ---- a resume ---- */

typedef struct {
    uint64_t step;
    spent_totals last;
} rewind_case;

static void rewind_it(void *with) {
    rewind_case *c = with;
    OK(metrics_rewind(path.text, c->step, &c->last));
}

static char *contents(void) {
    char *text;
    size_t bytes;
    OK(file_read(path.text, &text, &bytes));
    assert_int_equal(bytes, strlen(text));
    return text;
}

#define LINE(step) "{\"step\":" #step ",\"wall_s\":" #step ",\"usd\":0." #step ",\"energy_total_j\":1" #step "}\n"
#define EVENT(step, last, dropped)                                                                                     \
    "{\"event\":\"resume\",\"step\":" #step ",\"wall_s\":" #last ",\"usd\":0." #last ",\"energy_total_j\":1" #last     \
    ",\"dropped_lines\":" #dropped "}\n"

static void a_resume_keeps_what_is_good(void **state) {
    (void)state;
    static const struct {
        const char *before;
        size_t bytes;
        const char *after, *told;
    } cases[] = {
        {BYTES(LINE(1) LINE(2)), LINE(1) LINE(2) EVENT(2, 2, 0), ""},
        {BYTES(LINE(1) LINE(2) LINE(3) LINE(4)), LINE(1) LINE(2) EVENT(2, 4, 2), ""},
        {BYTES(LINE(1) LINE(2) LINE(3) "{\"st"), LINE(1) LINE(2) EVENT(2, 3, 1), "is incomplete"},
        {BYTES(LINE(1) LINE(2) "{\"step\":3,\"wall_s\":3}"),
         LINE(1) LINE(2) "{\"event\":\"resume\",\"step\":2,\"wall_s\":3,\"usd\":0.2,\"energy_total_j\":12,\"dropped_"
                         "lines\":1}\n",
         ""},
        {BYTES(LINE(1) LINE(2) "{\"step\":3,\"wall_s\":3,\"usd\":null}\n"),
         LINE(1) LINE(2) "{\"event\":\"resume\",\"step\":2,\"wall_s\":3,\"usd\":null,\"energy_total_j\":12,"
                         "\"dropped_lines\":1}\n",
         ""},
        {BYTES(LINE(1) "{\"step\":2,\"wall_s\":5e9,\"usd\":9}\n" LINE(3)),
         LINE(1) "{\"step\":2,\"wall_s\":5e9,\"usd\":9}\n" EVENT(2, 3, 1), "step 2 has wall_s 5e+09, expected at most"},
        {BYTES(LINE(1) "{\"step\":2}"), LINE(1) "{\"step\":2}\n" EVENT(2, 1, 0), ""},
        {BYTES(LINE(1) "nonsense\n" LINE(2) LINE(3)), LINE(1) LINE(2) EVENT(2, 3, 1), "line 2"},
        {BYTES("\0\0" LINE(1) LINE(2)), LINE(1) LINE(2) EVENT(2, 2, 0), "line 1"},
        {BYTES(LINE(1) "\0\0\0\0"), LINE(1) EVENT(2, 1, 0), "the line of step 2 is missing"},
        {BYTES(LINE(1) EVENT(1, 1, 0) LINE(2) EVENT(2, 2, 0)),
         LINE(1) EVENT(1, 1, 0) LINE(2) EVENT(2, 2, 0) EVENT(2, 2, 0), ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rewind_case c = {2, {.usd = NAN}};
        put(cases[i].before, cases[i].bytes);
        char *told = told_by(rewind_it, &c), *after = contents();
        assert_string_equal(after, cases[i].after);
        has(told, cases[i].told);
        if (!*cases[i].told) assert_string_equal(told, "");
        assert_int_equal(access(path_join(folder, "metrics.jsonl.tmp").text, F_OK), -1);
        free(told), free(after);
    }
}

static void a_resume_without_metrics(void **state) {
    (void)state;
    rewind_case c = {7, {.ns = 5000000000, .usd = NAN}};
    unlink(path.text);
    char *told = told_by(rewind_it, &c);
    has(told, "metrics.jsonl: is missing; the lines of steps 1 to 7 are lost");
    assert_true(c.last.ns == 5000000000);
    free(told);
    c.step = 0;
    told = told_by(rewind_it, &c);
    assert_string_equal(told, "");
    free(told);
}

/* A file of many MB must not be held in memory: the process may take 24 MB more than now. */
static void a_long_file_takes_little_memory(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* the sanitizer keeps freed memory */
#endif
    enum { STEPS = 60000, FILLER = 1000 };
    FILE *f = fopen(path.text, "w");
    for (int i = 1; i <= STEPS; i++) fprintf(f, "{\"step\":%d,\"wall_s\":%d,\"x\":\"%0*d\"}\n", i, i, FILLER, i);
    fclose(f);
    struct stat info;
    assert_true(stat(path.text, &info) == 0 && info.st_size > 50 << 20);
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(statm, "%ld", &pages), 1);
    fclose(statm);
    struct rlimit old, tight;
    getrlimit(RLIMIT_AS, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (24 << 20);
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    spent_totals last = {.usd = NAN};
    status_code st = metrics_rewind(path.text, STEPS / 2, &last);
    setrlimit(RLIMIT_AS, &old);
    OK(st);
    assert_true(last.ns == STEPS * 1000000000ull);
    assert_true(stat(path.text, &info) == 0 && info.st_size < 40 << 20 && info.st_size > 25 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_line_costs_only_itself),
        cmocka_unit_test(what_is_whole_is_read_in_silence),
        cmocka_unit_test(long_lines_and_holes),
        cmocka_unit_test(much_damage_is_told_in_few_lines),
        cmocka_unit_test(a_resume_keeps_what_is_good),
        cmocka_unit_test(a_resume_without_metrics),
        cmocka_unit_test(a_long_file_takes_little_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_all);
}
