/* Patterns split as Oniguruma does, and refuse what they would not split alike; NFC in pieces. */
#include "tests/check.h"

#include <string.h>

#include "train/data/pattern.h"
#include "train/data/unicode.h"

#define LLAMA3                                                                                                         \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"           \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* the matches and what is between them, each with '|' behind it. The text is given in two parts, cut at `cut`. */
static void split(char *out, const pattern *p, const char *text, size_t cut) {
    pattern_matcher *m;
    size_t bytes = strlen(text), at = 0, given = cut;
    bool open = false; /* what is between two matches may come in two parts */
    *out = 0;
    OK(pattern_matcher_open(&m, p));
    while (at < bytes) {
        pattern_found f;
        OK(pattern_find(m, &f, text, given, at, given < bytes));
        if (f.start > at) strncat(out, text + at, f.start - at), open = true;
        if (open && f.kind == PATTERN_MATCH) strcat(out, "|"), open = false;
        if (f.kind == PATTERN_MATCH) strncat(out, text + f.start, f.end - f.start), strcat(out, "|");
        at = f.kind == PATTERN_MATCH ? f.end : f.start;
        if (f.kind != PATTERN_MATCH) {
            if (given == bytes) break;
            given = bytes;
        }
    }
    pattern_matcher_close(m);
}

static void test_splits_whatever_the_cut(void **state) {
    (void)state;
    static const struct {
        const char *regex, *text, *expected;
    } cases[] = {
        {PATTERN_GPT2, "It's  12ab,\n\n x  ", "It|'s| | 12|ab|,|\n\n| x|  |"},
        {LLAMA3, "It'S 1234\r\n\n  x (y)\n", "It|'S| |123|4|\r\n\n| | x| (|y|)\n|"},
        {LLAMA3, "'\u017f'\u212a", "'\u017f|'\u212a|"}, /* long s, Kelvin sign */
        {"\\s+",
         "a\u180eb\u00a0c\xc2\x85"
         "d\u3000",
         "a\u180eb|\u00a0|c|\xc2\x85|d|\u3000|"},
        {"[0-9][0-9][0-9]", "12345x12", "123|45x12"},
        {"\\S\\D\\d", "ab\u0663 1", "ab\u0663| 1"},
        {"[^\\s\\d]+", "a 1b\u00e4", "a| 1|b\u00e4|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pattern *p;
        OK(pattern_open(&p, cases[i].regex));
        for (size_t cut = 0; cut <= strlen(cases[i].text); cut++) {
            char out[256];
            if ((cases[i].text[cut] & 0xc0) == 0x80) continue; /* inside a character */
            split(out, p, cases[i].text, cut);
            assert_string_equal(out, cases[i].expected);
        }
        pattern_close(p);
    }
}

static void test_literals(void **state) {
    (void)state;
    pattern *p;
    char out[64];
    OK(pattern_open_literal(&p, "a.(*"));
    split(out, p, "xa.(*axx(*", 3);
    assert_string_equal(out, "x|a.(*|axx(*");
    pattern_close(p);
}

static void test_refusals(void **state) {
    (void)state;
    static const char *const refused[] = {
        "a$",     "^a",     "a.b",     "\\bx",           "\\w+",        "(?<n>a)",       "(?<=a)b", "(a)\\1",
        "a*",     "[a[b]]", "[a&&b]",  "\\p{Han}",       "\\pL",        "(?m:a)",        "\\R",     "[\\S]",
        "a{,2}b", "(a",     "[\\s-z]", "a{1,2}+",        "(*UTF)a",     "\\x{110000}",   "[]a]",    "\\",
        "(?i)a",  "a{2}?",  "(?i:ss)", "(?i:x|(?:Fi)k)", "(?i:\u00df)", "(?i:[\\x{df}])"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        pattern *p;
        if (pattern_open(&p, refused[i]) != STATUS_DATA) fail_msg("\"%s\" was not refused", refused[i]);
        if (!strstr(status_message(), "the pattern \"")) fail_msg("%s", status_message());
        assert_null(p);
    }
    static const char *const taken[] = {"a{2,3}?", "(?i:'s|(?:k|t)a)ss\u00df", "(?i:s|f)i", "[}]?a"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        pattern *p;
        OK(pattern_open(&p, taken[i]));
        pattern_close(p);
    }
}

static void test_long_texts(void **state) {
    (void)state;
    enum { BYTES = 1 << 21 };
    char *text = malloc(BYTES);
    pattern *p;
    pattern_matcher *m;
    pattern_found f;
    static const char fills[] = {' ', '\n', 'a', '7', '!'};
    OK(pattern_open(&p, LLAMA3));
    OK(pattern_matcher_open(&m, p));
    for (size_t i = 0; i < sizeof fills; i++) {
        memset(text, fills[i], BYTES);
        text[BYTES - 1] = 'x';
        OK(pattern_find(m, &f, text, BYTES, 0, false));
        assert_int_equal(f.kind, PATTERN_MATCH);
        assert_true(f.end >= (fills[i] == '7' ? 3 : BYTES - 2));
    }
    pattern_matcher_close(m);
    pattern_close(p);
    memset(text, 'a', BYTES);
    OK(pattern_open(&p, "(?:a|aa)+[bc]")); /* takes for ever without a limit */
    OK(pattern_matcher_open(&m, p));
    FAILS(DATA, "fails on a text", pattern_find(m, &f, text, 64, 0, false));
    pattern_matcher_close(m);
    pattern_close(p);
    free(text);
}

static void test_valid_utf8(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int valid;
        bool more;
    } cases[] = {{"plain ascii text", 16, false},
                 {"a\u00e9\u20ac\U0001f600", 10, false},
                 {"a\xc3", 1, true},
                 {"a\xf0\x9f\x98", 1, true},
                 {"a\xf0\x9fx", 1, false},
                 {"\xed\xa0\x80", 0, false},
                 {"\xc0\xaf", 0, false},
                 {"\xf4\x90", 0, false},
                 {"\xe0\x80", 0, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool more;
        assert_int_equal(unicode_valid(cases[i].text, strlen(cases[i].text), &more), cases[i].valid);
        assert_int_equal(more, cases[i].more);
    }
}

static void check_nfc(const char *text, const char *expected) {
    unicode_scratch s = {0};
    size_t length;
    OK(unicode_nfc(&s, &length, text, strlen(text)));
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(s.text, expected, length);
    unicode_scratch_free(&s);
}

static void test_nfc(void **state) {
    (void)state;
    check_nfc("e\u0301", "\u00e9");
    check_nfc("\u212b", "\u00c5");                                        /* Angstrom sign */
    check_nfc("\u1100\u1161\u11a8", "\uac01");                            /* Hangul */
    check_nfc("q\u0307\u0323", "q\u0323\u0307");                          /* marks in order of their class */
    check_nfc("a\u0315\u0300\u05ae\u0300b", "\u00e0\u05ae\u0300\u0315b"); /* from NormalizationTest.txt */
    check_nfc("\u0958", "\u0915\u093c");                                  /* excluded from composition */
    check_nfc("\u2adc", "\u2add\u0338");
    check_nfc("\U0001d15e", "\U0001d157\U0001d165");
}

/* cut before every start, the parts have the NFC of the whole */
static void test_nfc_in_parts(void **state) {
    (void)state;
    static const int32_t some[] = {'e',   0x301, 0x323,  0x1100, 0x1161, 0x11a8, 0xac00,
                                   0x9c7, 0x9be, 0x1e0a, 0x212b, 0x958,  0x344};
    enum { SOME = sizeof some / sizeof *some };
    unicode_nfc_starts *starts;
    unicode_scratch whole = {0}, part = {0};
    OK(unicode_nfc_open(&starts));
    for (int c = 0; c < SOME * SOME * SOME * SOME; c++) {
        char text[16], joined[64];
        size_t cuts[5], bytes = 0, length, count = 0, cut = 0;
        for (int i = 0, rest = c; i < 4; i++, rest /= SOME) {
            if (i && unicode_nfc_start(starts, some[rest % SOME])) cuts[cut++] = bytes;
            bytes += (size_t)unicode_write(text + bytes, some[rest % SOME]);
        }
        cuts[cut++] = bytes;
        for (size_t i = 0, from = 0; i < cut; from = cuts[i++]) {
            OK(unicode_nfc(&part, &length, text + from, cuts[i] - from));
            memcpy(joined + count, part.text, length);
            count += length;
        }
        OK(unicode_nfc(&whole, &length, text, bytes));
        if (length != count || memcmp(whole.text, joined, count)) fail_msg("case %d", c);
    }
    unicode_scratch_free(&whole);
    unicode_scratch_free(&part);
    free(starts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits_whatever_the_cut),
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_valid_utf8),
        cmocka_unit_test(test_nfc),
        cmocka_unit_test(test_nfc_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
