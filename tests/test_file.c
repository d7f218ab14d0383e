#include "runtime/path.h"
#include "tests/check.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file.h"
#include "runtime/printable.h"

static char folder[64];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/tally-file-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    static const char *const names[] = {"pipe", "link", "text"};
    for (int i = 0; i < 3; i++) remove(path_join(folder, names[i]).text);
    return rmdir(folder);
}

static void only_regular_files_are_read(void **state) {
    (void)state;
    char *data;
    size_t bytes;
    path_text pipe_path = path_join(folder, "pipe"), link_path = path_join(folder, "link");
    assert_int_equal(mkfifo(pipe_path.text, 0600), 0);
    assert_int_equal(symlink("/dev/zero", link_path.text), 0);
    FAILS(DATA, "is a pipe, expected a regular file", file_read(pipe_path.text, &data, &bytes));
    FAILS(DATA, "is a device, expected a regular file", file_read(link_path.text, &data, &bytes));
    FAILS(DATA, "is a folder, expected a regular file", file_read(folder, &data, &bytes));
    FAILS(DATA, "No such file", file_read(path_join(folder, "none").text, &data, &bytes));
    assert_null(data);
    OK(file_read("/proc/self/status", &data, &bytes)); /* its size is given as 0 bytes */
    assert_true(bytes > 0 && data[bytes] == 0);
    free(data);
}

static void the_size_is_bounded(void **state) {
    (void)state;
    char *data;
    size_t bytes;
    path_text path = path_join(folder, "text");
    FILE *f = fopen(path.text, "w");
    assert_non_null(f);
    fputs("0123456789", f);
    fclose(f);
    FAILS(DATA, "text: is larger than 9 bytes, expected", file_read_up_to(9, path.text, &data, &bytes));
    OK(file_read_up_to(10, path.text, &data, &bytes));
    assert_int_equal(bytes, 10);
    assert_string_equal(data, "0123456789");
    free(data);
    FAILS(DATA, "is larger than 5 bytes", file_read_up_to(5, "/proc/self/status", &data, &bytes));
    truncate(path.text, (2l << 30) + 1) == 0 ? (void)0 : skip(); /* a hole: takes no space */
    FAILS(DATA, "is larger than 1024 MiB", file_read(path.text, &data, &bytes));
}

static void control_characters_are_shown(void **state) {
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"plain text", "plain text"},
        {"a\033[2Jb\007", "a\\x1b[2Jb\\x07"},
        {"two\nlines\t\r", "two\\x0alines\\x09\\x0d"},
        {"\x7f", "\\x7f"},
        {"gr\u00fc\u00df \u20ac \U0001f600", "gr\u00fc\u00df \u20ac \U0001f600"},
        {"\xc2\x9b"
         "2J",
         "\\xc2\\x9b2J"}, /* C1: CSI in UTF-8 */
        {"\x9b"
         "2J",
         "\\x9b2J"},                         /* and as a byte */
        {"\xc3", "\\xc3"},                   /* truncated */
        {"\xc3(", "\\xc3("},                 /* no second byte */
        {"\xe0\x80\x9b", "\\xe0\\x80\\x9b"}, /* overlong encoding */
        {"\xff\xfe", "\\xff\\xfe"},
        {"\\x1b", "\\x1b"}, /* text shown before does not change */
    };
    char to[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = printable(to, cases[i].text, strlen(cases[i].text));
        assert_string_equal(to, cases[i].shown);
        assert_int_equal(n, strlen(to));
    }
    FAILS(DATA, "x.json: \\x1b[2J", ERROR(DATA, "x.json: %s", "\033[2J"));
}

static void a_stream_lets_text_pass_as_it_comes(void **state) {
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"a\nb\tc", "a\nb\tc"},
        {"\u00fc\u20ac\U0001f600", "\u00fc\u20ac\U0001f600"},
        {"\033[2J\r\177", "\\x1b[2J\\x0d\\x7f"},
        {"\x9b", "\\x9b"},
        {"\xff", "\\xff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        printable_stream s = {0};
        char all[256] = "";
        for (const char *c = cases[i].text; *c; c++) strcat(all, printable_next(&s, (unsigned char)*c));
        assert_string_equal(all, cases[i].shown);
    }
    printable_stream s = {0}; /* C1 in two bytes: the second must not pass */
    printable_next(&s, 0xc2);
    assert_string_equal(printable_next(&s, 0x9b), "\\x9b");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_regular_files_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(the_size_is_bounded, setup, teardown),
        cmocka_unit_test(control_characters_are_shown),
        cmocka_unit_test(a_stream_lets_text_pass_as_it_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
