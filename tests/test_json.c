#include "runtime/json.h"

#include <unistd.h>

#include "tests/check.h"

static json_t *parsed(const char *text) {
    json_t *json;
    OK(json_parse(&json, "x.json", text, strlen(text)));
    return json;
}

static void refused(const char *text, size_t bytes, const char *message) {
    json_t *json;
    FAILS(DATA, message, json_parse(&json, "x.json", text, bytes));
    assert_null(json);
}

static void refuses_what_is_not_json(void **state) {
    (void)state;
#define REFUSED(text, message) refused(text, sizeof text - 1, message)
    REFUSED("", "x.json:1:1: found the end");
    REFUSED("{\"a\": 1,\n \"b\": oops}", "x.json:2:7: found oops}, expected JSON");
    REFUSED("{\"a\": NaN}", "x.json:1:7: found NaN}");
    REFUSED("{\"a\": -Infinity}", "x.json:1:7: found -Infinity}");
    REFUSED("{\"a\": 1e999}", "x.json: the number 1e999 is too large for a double");
    REFUSED("[1, -1e999]", "x.json: the number -1e999 is too large");
    REFUSED("{\"a\": 1} {}", "x.json:1:10: found {}");
    REFUSED("{\"a\": 1}\0", "x.json:1:9: found ?");
    REFUSED("{\"a\":\0 1}", "x.json:1:6: found ?");
    REFUSED("{\"a\": 1", "x.json:1:8: found the end");
    REFUSED("{\"a\": \"b", "x.json:1:");
    REFUSED("{\"a\": \"b\\q\"}", "x.json:1:7: found \"b\\q\"}, expected JSON (invalid escape)");
    REFUSED("{\"a\": \"\\u12g4\"}", "x.json:1:7: found \"\\u12g4\"}, expected JSON (invalid escape)");
    REFUSED("{\"a\": \"\\u0000\"}", "x.json: found \\u0000 in a string");
    REFUSED("{\"\\u0000\": 1}", "x.json:1:2: found \"\\u0000\": 1}, expected JSON (NUL byte in object key");
    REFUSED("{123456789012345678901: 1}", "x.json:1:2: found 123456789012345678901:");
    REFUSED("[00000000000000000000001]", "x.json:1:2: found 0000000");
    REFUSED("{\"b\": 2, \"a\": {\"c\": 1, \"d\": 2, \"c\": 3}}",
            "x.json:1:32: found \"c\": 3}}, expected JSON (duplicate object key)");
#undef REFUSED
    /* numbers in strings are text */
    json_t *o = parsed("{\"a\": \"1e-400 \\\" 1e-400\", \"b\": -0e5, \"c\": 1e-300}");
    json_decref(o);
    refused("[1e-400]", 8, "x.json: the number 1e-400 is too small for a double");
    enum { MANY = 3 << 20 };
    char *many = malloc(MANY + 1);
    memset(many, ',', MANY);
    for (int i = 1; i < MANY; i += 2) many[i] = '0';
    many[0] = '[', many[MANY - 1] = ']', many[MANY] = 0;
    refused(many, MANY, "x.json: holds more than 1048576 JSON values");
    /* the outline grows most */
    for (int i = 0; i < MANY; i++) many[i] = "-0\"\""[i % 4];
    refused(many, MANY, "x.json:1:3: found \"\"-0");
    memset(many, '"', MANY);
    refused(many, MANY, "x.json:1:3: found \"\"");
    free(many);
    char deep[4096];
    memset(deep, '[', sizeof deep);
    refused(deep, sizeof deep - 1, (deep[sizeof deep - 1] = 0, "x.json:1:"));
}

static void gets_what_is_expected(void **state) {
    (void)state;
    json_t *o =
        parsed("{\"i\": -7, \"f\": 1.5, \"s\": \"text\", \"t\": true, \"a\": [1], \"o\": {}, \"n\": null,"
               "\"big\": \"18446744073709551615\", \"low\": \"-9223372036854775808\", \"huge\": 9007199254740993,"
               "\"over\": 18446744073709551616, \"real\": 9007199254740992.0, \"I\": 1}");
    i64 i;
    uint64_t u;
    double d;
    bool b;
    char s[5];
    json_t *item;
    OK(json_get_i64(o, "p", "i", &i));
    assert_int_equal(i, -7); /* not "I": names are case-sensitive */
    OK(json_get_i64(o, "p", "low", &i));
    assert_true(i == INT64_MIN);
    OK(json_get_u64(o, "p", "big", &u));
    assert_true(u == UINT64_MAX);
    OK(json_get_u64(o, "p", "huge", &u));
    assert_true(u == 9007199254740993u);
    OK(json_get_double(o, "p", "huge", &d));
    assert_true(d == 9007199254740992.0);
    OK(json_get_double(o, "p", "f", &d));
    assert_true(d == 1.5);
    OK(json_get_bool(o, "p", "t", &b));
    assert_true(b);
    OK(json_get_string(o, "p", "s", s, sizeof s));
    assert_string_equal(s, "text");
    OK(json_get_array(o, "p", "a", &item));
    OK(json_get_object(o, "p", "o", &item));
    assert_null(json_find(o, "n"));
    assert_null(json_find(o, "absent"));
    assert_non_null(json_find(o, "i"));

    FAILS(DATA, "p: \"f\" is 1.5, expected an integer", json_get_i64(o, "p", "f", &i));
    FAILS(DATA, "p: \"s\" is \"text\", expected an integer", json_get_i64(o, "p", "s", &i));
    FAILS(DATA, "p: \"x\" is missing, expected an integer", json_get_i64(o, "p", "x", &i));
    FAILS(DATA, "p: \"n\" is null, expected an integer", json_get_i64(o, "p", "n", &i));
    FAILS(DATA, "p: \"real\" is 9007199254740992, expected an integer", json_get_i64(o, "p", "real", &i));
    FAILS(DATA, "expected an integer of 64 bits", json_get_i64(o, "p", "big", &i));
    FAILS(DATA, "expected an integer of 64 bits", json_get_u64(o, "p", "over", &u));
    FAILS(DATA, "p: \"i\" is -7, expected an integer of 0 or more", json_get_u64(o, "p", "i", &u));
    FAILS(DATA, "expected an integer of 0 or more", json_get_u64(o, "p", "low", &u));
    FAILS(DATA, "p: \"t\" is true, expected a number", json_get_double(o, "p", "t", &d));
    FAILS(DATA, "p: \"i\" is -7, expected true or false", json_get_bool(o, "p", "i", &b));
    FAILS(DATA, "p: \"a\" is an array, expected a string", json_get_string(o, "p", "a", s, sizeof s));
    FAILS(DATA, "p: \"s\" is 4 characters long, expected at most 3", json_get_string(o, "p", "s", s, 4));
    FAILS(DATA, "p: \"o\" is an object, expected an array", json_get_array(o, "p", "o", &item));
    FAILS(DATA, "p: \"a\" is an array, expected an object", json_get_object(o, "p", "a", &item));
    json_decref(o);
}

static void writes_what_it_reads(void **state) {
    (void)state;
    static const uint64_t integers[] = {0, 1, (1ull << 53) - 1, 1ull << 53, (1ull << 53) + 1, INT64_MAX, UINT64_MAX};
    for (int k = 0; k < 7; k++) {
        json_t *o = json_object();
        OK(json_add_u64(o, "u", integers[k]));
        OK(json_add_i64(o, "i", -(i64)(integers[k] & INT64_MAX)));
        char *text;
        OK(json_print(&text, o, JSON_ONE_LINE));
        json_t *again = parsed(text);
        uint64_t u;
        i64 i;
        OK(json_get_u64(again, "p", "u", &u));
        OK(json_get_i64(again, "p", "i", &i));
        assert_true(u == integers[k] && i == -(i64)(integers[k] & INT64_MAX));
        json_decref(again), json_decref(o), free(text);
    }
    /* random bits are doubles of every size, denormals included */
    for (uint64_t k = 1; k < 20000; k++) {
        uint64_t bits = k * 0x9e3779b97f4a7c15u;
        double v, back;
        memcpy(&v, &bits, 8);
        if (!isfinite(v)) continue;
        json_t *o = json_object();
        OK(json_add_double(o, "v", v));
        char *text;
        OK(json_print(&text, o, JSON_ONE_LINE));
        json_t *again = parsed(text);
        OK(json_get_double(again, "p", "v", &back));
        if (memcmp(&v, &back, 8)) fail_msg("%a reads back as %a", v, back);
        json_decref(again), json_decref(o), free(text);
    }
}

/* digits in strings, names and nested values must not be mixed up with those of another number */
static void keeps_every_digit(void **state) {
    (void)state;
    const char *text = "{\"a 12345678901234567890\":[12345678901234567891,\"\\\"9\\\\\",1.5,[-9223372036854775807]],"
                       "\"b\":{\"c\":98765432109876543210987654321},\"d\":1e+300,\"e\":7}";
    json_t *o = parsed(text);
    char *again;
    OK(json_print(&again, o, JSON_ONE_LINE));
    assert_string_equal(again, text);
    free(again);
    json_decref(o);
    o = json_object();
    OK(json_add_u128(o, "year", (u128)100000 * 31536000 * 1000000000));
    OK(json_add_u128(o, "flops", (u128)1000000000000 * 1000000000000));
    OK(json_add_u128(o, "most", ~(u128)0));
    OK(json_add_i64(o, "least", INT64_MIN));
    OK(json_print(&again, o, JSON_ONE_LINE));
    assert_string_equal(again, "{\"year\":3153600000000000000000,\"flops\":1000000000000000000000000,"
                               "\"most\":340282366920938463463374607431768211455,\"least\":-9223372036854775808}");
    free(again);
    json_decref(o);
}

/* what jansson refuses or changes: bytes that are not UTF-8, half of a surrogate pair, -0; and a byte order mark */
static void reads_strings_itself(void **state) {
    (void)state;
    const char *text =
        "\xef\xbb\xbf{\"path\": \"caf\xe9 \\u00e9\", \"half\": \"\\ud83d.\", \"whole\": \"\\ud83d\\ude00\\/\","
        "\"zero\": -0, \"\\u006eame\": \"a\\tb\"}";
    json_t *o = parsed(text);
    char path[16], half[16], whole[16], name[16];
    OK(json_get_string(o, "p", "path", path, sizeof path));
    OK(json_get_string(o, "p", "half", half, sizeof half));
    OK(json_get_string(o, "p", "whole", whole, sizeof whole));
    OK(json_get_string(o, "p", "name", name, sizeof name));
    assert_string_equal(path, "caf\xe9 \xc3\xa9");
    assert_string_equal(half, "\xef\xbf\xbd.");
    assert_string_equal(whole, "\xf0\x9f\x98\x80/");
    assert_string_equal(name, "a\tb");
    assert_true(signbit(json_number_or_nan(json_object_get(o, "zero"))));
    json_decref(o);
    o = json_object();
    OK(json_add_string(o, "path", "caf\xe9"));
    OK(json_add_double(o, "zero", -0.0));
    char *printed;
    OK(json_print(&printed, o, JSON_ONE_LINE));
    assert_string_equal(printed, "{\"path\":\"caf\xe9\",\"zero\":-0}");
    free(printed);
    json_decref(o);
}

static void tells_numbers_from_strings(void **state) {
    (void)state;
    json_t *o = parsed("[12345678901234567890, \"7\", 1.5, 3, null]");
    static const double numbers[] = {12345678901234567890.0, NAN, 1.5, 3, NAN};
    for (size_t i = 0; i < 5; i++) {
        const json_t *item = json_array_get(o, i);
        double v = json_number_or_nan(item);
        assert_true(isnan(numbers[i]) ? isnan(v) : v == numbers[i]);
        assert_true((json_string_or_null(item) != NULL) == (i == 1));
    }
    assert_true(isnan(json_number_or_nan(NULL)) && !json_string_or_null(NULL));
    json_decref(o);
}

static void prints(void **state) {
    (void)state;
    json_t *o = parsed(
        "{\"a\": [1, 2.5], \"b\": [[1], {}], \"c\": {\"d\": \"\\u0001\\\"\\\\\\n\u00fc\", \"e\": false}, \"z\": []}");
    OK(json_add_double(o, "lr", 3e-4));
    OK(json_add_double(o, "big", 1e22));
    OK(json_add_number_or_null(o, "nan", NAN));
    OK(json_add_number_or_null(o, "third", 1.0 / 3));
    OK(json_add_bool(o, "yes", true));
    FAILS(NUMERIC, "\"bad\" is inf, expected a finite number", json_add_double(o, "bad", INFINITY));
    char *text;
    OK(json_print(&text, o, JSON_ONE_LINE));
    assert_string_equal(text,
                        "{\"a\":[1,2.5],\"b\":[[1],{}],\"c\":{\"d\":\"\\u0001\\\"\\\\\\n\u00fc\",\"e\":false},\"z\":[],"
                        "\"lr\":0.0003,\"big\":1e+22,\"nan\":null,\"third\":0.3333333333333333,\"yes\":true}");
    free(text);
    OK(json_print(&text, o, JSON_INDENTED));
    assert_string_equal(text,
                        "{\n  \"a\": [1, 2.5],\n  \"b\": [\n    [1],\n    {}\n  ],\n"
                        "  \"c\": {\n    \"d\": \"\\u0001\\\"\\\\\\n\u00fc\",\n    \"e\": false\n  },\n  \"z\": [],\n"
                        "  \"lr\": 0.0003,\n  \"big\": 1e+22,\n  \"nan\": null,\n  \"third\": 0.3333333333333333,\n"
                        "  \"yes\": true\n}\n");
    free(text);
    json_decref(o);
}

static void reads_files(void **state) {
    (void)state;
    json_t *json;
    FAILS(DATA, "tests/absent.json: No such file", json_read_file(&json, "tests/absent.json"));
    FAILS(DATA, "tests: is a folder", json_read_file(&json, "tests"));
    char path[] = "/tmp/test_json_XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "{\"a\":\n1}\n", 9), 9);
    OK(json_read_file(&json, path));
    i64 a;
    OK(json_get_i64(json, path, "a", &a));
    assert_int_equal(a, 1);
    json_decref(json);
    assert_int_equal(write(fd, "]", 1), 1);
    FAILS(DATA, ":3:1: found ], expected JSON", json_read_file(&json, path));
    close(fd);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(gets_what_is_expected),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(keeps_every_digit),
        cmocka_unit_test(reads_strings_itself),
        cmocka_unit_test(tells_numbers_from_strings),
        cmocka_unit_test(prints),
        cmocka_unit_test(reads_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
