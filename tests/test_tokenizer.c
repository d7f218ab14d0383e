/* What every tokenizer promises, on the byte tokenizer; the tokenizers of others are in test_tokenizers.sh. */
#include "tests/check.h"

#include <string.h>

#include "train/data/tokenizer.h"

static void test_bytes_are_tokens(void **state) {
    (void)state;
    tokenizer *t;
    OK(tokenizer_open(&t, NULL));
    assert_int_equal(tokenizer_size(t), 257);
    assert_int_equal(tokenizer_end_of_text(t), 256);
    assert_int_equal(tokenizer_begin_of_text(t), -1);
    assert_string_equal(tokenizer_fingerprint(t), "bytes");
    assert_int_equal(tokenizer_id(t, "<0x0A>"), 10);
    assert_int_equal(tokenizer_id(t, "<|endoftext|>"), 256);
    assert_int_equal(tokenizer_id(t, "A"), -1);
    assert_string_equal(tokenizer_name(t, 255), "<0xFF>");
    assert_null(tokenizer_name(t, 257));
    assert_true(tokenizer_is_special(t, 256) && !tokenizer_is_special(t, 10));
    tokenizer_encoder *e;
    token_list ids = {0};
    OK(tokenizer_encoder_open(&e, t, false));
    OK(tokenizer_encode(e, &ids, "a\0\xff", 3, false));
    OK(tokenizer_encode(e, &ids, "z", 1, true));
    assert_int_equal(ids.count, 4);
    assert_memory_equal(ids.ids, ((int32_t[]){97, 0, 255, 122}), 16);
    token_list_free(&ids);
    tokenizer_encoder_close(e);
    tokenizer_close(t);
}

/* the characters appear when they are complete, whatever the pieces */
static void test_characters_appear_whole(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int shown[8]; /* bytes that are written after each byte of the text */
    } cases[] = {
        {"a\xc3\xa9z", {1, 1, 3, 4}},       {"\xf0\x9f\x98\x80", {0, 0, 0, 4}}, {"\xff\xe2\x82", {1, 1, 1}},
        {"\xe2\x82z", {0, 0, 3}},           {"\xed\xa0\x80", {0, 2, 3}},        {"\xc3\xc3\xa9", {0, 1, 3}},
        {"\xf4\x90\x80\x80", {0, 2, 3, 4}}, {"\xe0\x9f\x80", {0, 2, 3}},        {"\xf0\x9f\x98", {0, 0, 0}},
        {"\x80\x80\x80\x80", {1, 2, 3, 4}},
    };
    tokenizer *t;
    OK(tokenizer_open(&t, "bytes"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer_decoder *d;
        tokenizer_text out = {0};
        size_t bytes = strlen(cases[i].text);
        OK(tokenizer_decoder_open(&d, t, false));
        for (size_t j = 0; j < bytes; j++) {
            int32_t id = (unsigned char)cases[i].text[j];
            OK(tokenizer_decode(d, &out, &id, 1, false));
            if (out.bytes != (size_t)cases[i].shown[j])
                fail_msg("case %zu: %zu bytes written after byte %zu, expected %d", i, out.bytes, j, cases[i].shown[j]);
        }
        OK(tokenizer_decode(d, &out, (int32_t[]){256, 257, -1}, 3, true)); /* special, and no tokens */
        assert_int_equal(out.bytes, bytes);
        assert_string_equal(out.text, cases[i].text);
        tokenizer_text_free(&out);
        tokenizer_decoder_close(d);
    }
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_tokens),
        cmocka_unit_test(test_characters_appear_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
