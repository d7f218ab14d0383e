/* What every tokenizer promises, on the byte tokenizer and on small ones; those of others are in test_tokenizers.sh. */
#include "tests/tokenizer_folder.h"

static void check_decoded(const tokenizer *t, const token_list *ids, const char *text, size_t bytes) {
    tokenizer_decoder *d;
    tokenizer_text out = {0};
    OK(tokenizer_decoder_open(&d, t, true));
    for (i64 i = 0; i < ids->count; i++) OK(tokenizer_decode(d, &out, ids->ids + i, 1, false));
    OK(tokenizer_decode(d, &out, NULL, 0, true));
    if (out.bytes != bytes || memcmp(out.text, text, bytes))
        fail_msg("%zu bytes decoded, expected %zu", out.bytes, bytes);
    tokenizer_text_free(&out);
    tokenizer_decoder_close(d);
}

/* ---- the byte tokenizer ---- */

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
    IDS(t, true, "a\xff<z", 97, 255, 60, 122);
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

/* ---- merges ---- */

/* by the definition: joins the pair of the lowest rank, the leftmost of equals, until there is none */
static i64 slow_merges(const tokenizer *t, bool byte_level, int32_t *ids, i64 count) {
    int merges = byte_level ? TINY_BYTE_MERGES : TINY_MERGES, first = byte_level ? TINY_BYTE_MERGE : TINY_MERGE;
    for (int rank = 0; rank < merges;) {
        const char *const *merge = byte_level ? tiny_byte_merges[rank] : tiny_merges[rank];
        int32_t left = tokenizer_id(t, merge[0]), right = tokenizer_id(t, merge[1]);
        i64 at = 0;
        while (at + 1 < count && (ids[at] != left || ids[at + 1] != right)) at++;
        if (at + 1 >= count) {
            rank++;
            continue;
        }
        ids[at] = first + rank;
        memmove(ids + at + 1, ids + at + 2, (size_t)(count - at - 2) * sizeof *ids);
        count--;
        rank = 0; /* the new token may be in any merge */
    }
    return count;
}

enum { LONGEST = 300 };

static uint64_t random_state = 7;
static size_t below(size_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(random_state >> 33) % n;
}

/* words of a few letters, of many lengths; each twice, from the cache too */
static void test_merges_by_their_definition(void **state) {
    (void)state;
    static const char letters[] = "helloworaald12";
    tokenizer *t = open_tiny((tiny_tokenizer){.byte_level = true,
                                              .pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                                                               "\"use_regex\":false}"});
    tokenizer_encoder *e;
    token_list got = {0};
    char word[LONGEST];
    OK(tokenizer_encoder_open(&e, t, false));
    for (int i = 0; i < 600; i++) {
        int32_t ids[LONGEST];
        size_t bytes = (size_t)(i / 2 + 1);
        if (bytes > LONGEST) bytes = LONGEST;
        for (size_t j = 0; j < bytes; j++) {
            if (i % 2 == 0) word[j] = letters[below(sizeof letters - 1)];
            ids[j] = (unsigned char)word[j];
        }
        i64 count = slow_merges(t, true, ids, (i64)bytes);
        encode(&got, e, word, bytes, (size_t)i % 7);
        if (got.count != count || memcmp(got.ids, ids, (size_t)count * sizeof *ids))
            fail_msg("a word of %zu bytes: %ld tokens, expected %ld", bytes, got.count, count);
    }
    token_list_free(&got);
    tokenizer_encoder_close(e);
    tokenizer_close(t);
}

/* Without a pre-tokenizer a text is one word; it is cut where no merge joins across, which must not show. */
static void test_texts_without_words(void **state) {
    (void)state;
    static const char *const parts[] = {"h", "e", "l", "l", "o",      " ", " ",  "w",     "o",
                                        "r", "d", "a", "a", "\u00e4", ",", "\n", "\u20ac"};
    tokenizer *t = open_tiny((tiny_tokenizer){0});
    tokenizer_encoder *e;
    token_list got = {0};
    OK(tokenizer_encoder_open(&e, t, false));
    for (int i = 0; i < 400; i++) {
        char text[4 * LONGEST] = "";
        int32_t ids[4 * LONGEST] = {TINY_CHARACTER};
        size_t count = 1, words = 1 + below(60);
        for (size_t j = 0; j < words; j++) {
            const char *part = parts[below(sizeof parts / sizeof *parts)];
            int32_t id = tokenizer_id(t, *part == ' ' ? "\u2581" : part);
            strcat(text, part);
            if (id >= 0) ids[count++] = id;
            for (; id < 0 && *part; part++) ids[count++] = TINY_BYTE + (unsigned char)*part;
        }
        i64 expected = slow_merges(t, false, ids, (i64)count);
        encode(&got, e, text, strlen(text), (size_t)i % 6);
        if (got.count != expected || memcmp(got.ids, ids, (size_t)expected * sizeof *ids))
            fail_msg("\"%s\": %ld tokens, expected %ld", text, got.count, expected);
        check_decoded(t, &got, text, strlen(text));
    }
    token_list_free(&got);
    tokenizer_encoder_close(e);
    tokenizer_close(t);
}

/* ---- any bytes ---- */

/* Texts of any bytes, cut anywhere, are decoded to themselves, by every kind of tokenizer that does not change text. */
static void test_any_bytes(void **state) {
    (void)state;
    static const char *const parts[] = {
        "hello",  " world",   "\u00e4", "\xff",          "\xc3",  "\xa4",         "  ",  "\n",           "12",  "345",
        "\u20ac", "\xf0\x9f", ".",      "<|endoftext|>", "<|end", "\u00e4\u0301", "'ll", "\xed\xa0\x80", "</s>"};
    static const tiny_tokenizer kinds[] = {
        {.byte_level = true},
        {0},
        {.byte_level = true,
         .pre_tokenizer =
             "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"},"
             "{\"type\":\"ByteLevel\",\"add_prefix_space\":false},{\"type\":\"Digits\"},"
             "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[0-9][0-9]\"},\"behavior\":\"MergedWithNext\"}]}"},
        {.pre_tokenizer =
             "{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"first\",\"split\":true}",
         .normalizer = "null"},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        tokenizer *t = open_tiny(kinds[k]);
        tokenizer_encoder *e;
        token_list whole = {0}, cut = {0};
        OK(tokenizer_encoder_open(&e, t,
                                  kinds[k].byte_level)); /* of characters: a space is put behind a special token */
        for (int i = 0; i < 300; i++) {
            char text[1024] = {i % 2 ? '\xff'
                                     : 'h'}; /* Metaspace prepends nothing to a text that begins with a space */
            size_t count = below(30);
            for (size_t j = 0; j < count; j++) strcat(text, parts[below(sizeof parts / sizeof *parts)]);
            encode(&whole, e, text, strlen(text), 0);
            check_decoded(t, &whole, text, strlen(text));
            for (size_t part = 1; part < 12; part += 3) {
                encode(&cut, e, text, strlen(text), part);
                if (cut.count != whole.count || memcmp(cut.ids, whole.ids, (size_t)cut.count * sizeof *cut.ids))
                    fail_msg("kind %zu, \"%s\" in parts of %zu: %ld ids, whole %ld", k, text, part, cut.count,
                             whole.count);
            }
        }
        token_list_free(&whole);
        token_list_free(&cut);
        tokenizer_encoder_close(e);
        tokenizer_close(t);
    }
}

static void test_a_zero_byte(void **state) {
    (void)state;
    for (int byte_level = 0; byte_level < 2; byte_level++) {
        tokenizer *t = open_tiny((tiny_tokenizer){.byte_level = byte_level});
        tokenizer_encoder *e;
        token_list got = {0};
        OK(tokenizer_encoder_open(&e, t, false));
        encode(&got, e, "he\0w", 4, 1);
        assert_int_equal(got.ids[got.count - 2], byte_level ? 0 : TINY_BYTE);
        check_decoded(t, &got, "he\0w", 4);
        encode(&got, e, "", 0, 0);
        assert_int_equal(got.count, 0);
        token_list_free(&got);
        tokenizer_encoder_close(e);
        tokenizer_close(t);
    }
}

/* ---- added tokens and ends ---- */

static void test_added_tokens(void **state) {
    (void)state;
    tokenizer *t = open_tiny((tiny_tokenizer){
        .byte_level = true,
        .normalizer = "{\"type\":\"NFC\"}",
        .added =
            "[{\"id\":270,\"content\":\"<a>\",\"special\":true},{\"id\":271,\"content\":\"<a>b\",\"special\":true},"
            "{\"id\":272,\"content\":\"<r>\",\"special\":true,\"rstrip\":true},{\"id\":273,\"content\":\"<l>\","
            "\"special\":true,\"lstrip\":true},{\"id\":274,\"content\":\"u\u0308\",\"normalized\":true},"
            "{\"id\":275,\"content\":\"<n>\",\"normalized\":false}]"});
    IDS(t, true, "<a>", 270);
    IDS(t, true, "<a>b<a><a>", 271, 270, 270);
    IDS(t, true, "<<a>a>", '<', 270, 'a', '>');
    IDS(t, true, "1<r> \n\u00a0 1", '1', 272, '1');
    IDS(t, true, "1 \n <l>1", '1', 273, '1');
    IDS(t, true, "1<r>  <l> 1", '1', 272, 273, ' ', '1');
    IDS(t, true, "1\u00fc1u\u03081", '1', 274, '1', 274, '1');
    IDS(t, true, "<n><a", 275, '<', 'a');
    IDS(t, false, "<n>1<a>", 275, '1', '<', 'a', '>');
    IDS(t, false, "1 <l>", '1', ' ', '<', 'l', '>');
    assert_true(tokenizer_is_special(t, 270) && !tokenizer_is_special(t, 275));
    tokenizer_close(t);
}

/* A token that is only added is found by the search for added tokens or not at all: words never have it. */
static void test_added_tokens_are_no_words(void **state) {
    (void)state;
    tokenizer *t = open_tiny((tiny_tokenizer){
        .added =
            "[{\"id\":999,\"content\":\"z\",\"special\":true},{\"id\":0,\"content\":\"<unk>\",\"special\":true}]"});
    IDS(t, true, "z", 999);
    IDS(t, false, "z", TINY_CHARACTER, TINY_BYTE + 'z');
    tokenizer_close(t);
    t = open_tiny((tiny_tokenizer){.byte_level = true,
                                   .model = "\"ignore_merges\":true,",
                                   .added = "[{\"id\":999,\"content\":\"low\",\"special\":true}]"});
    IDS(t, true, "low", 999);
    IDS(t, false, "low", TINY_BYTE_MERGE + 11, 'w');
    tokenizer_close(t);
}

/* "ignore_merges" is for whole words, and here the whole text is one: the part "abc" of it is no word. */
static void test_ignore_merges_of_characters(void **state) {
    (void)state;
    static const char text[] = "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,"
                               "\"vocab\":{\"x\":0,\"a\":1,"
                               "\"b\":2,\"c\":3,\"ab\":4,\"bc\":5,\"abc\":6},\"merges\":[\"a b\",\"b c\"]}}";
    tokenizer *t;
    OK(try_text(&t, strdup(text)));
    IDS(t, true, "abc", 6);
    IDS(t, true, "xabc", 0, 4, 3);
    tokenizer_close(t);
}

/* Text that may all belong to a token behind it, or to one match, is held: some MiB of it, and each byte is looked at once. */
static void test_text_without_a_place_to_split(void **state) {
    (void)state;
    enum { BYTES = 17 << 20 };
    static const tiny_tokenizer kinds[] = {
        {.byte_level = true, .added = "[{\"id\":270,\"content\":\"<l>\",\"lstrip\":true,\"normalized\":false}]"},
        {.byte_level = true},
        {.byte_level = true, .normalizer = "{\"type\":\"NFC\"}"},
    };
    char *spaces = malloc(BYTES), *marks = malloc(BYTES);
    memset(spaces, ' ', BYTES);
    for (int i = 0; i < BYTES; i += 2) memcpy(marks + i, "\u0301", 2);
    for (int k = 0; k < 3; k++) {
        tokenizer *t = open_tiny(kinds[k]);
        tokenizer_encoder *e;
        token_list ids = {0};
        OK(tokenizer_encoder_open(&e, t, true));
        FAILS(DATA, "the text has more than 16842752 bytes without a place to split it",
              tokenizer_encode(e, &ids, k == 2 ? marks : spaces, BYTES, false));
        tokenizer_encode_restart(e);
        OK(tokenizer_encode(e, &ids, spaces, 1 << 20, false));
        OK(tokenizer_encode(e, &ids, "<l>1", 4, true));
        if (k == 0) assert_int_equal(ids.count, 2);
        token_list_free(&ids);
        tokenizer_encoder_close(e);
        tokenizer_close(t);
    }
    free(spaces);
    free(marks);
}

static void test_ends_of_texts(void **state) {
    (void)state;
    tokenizer *t = open_tiny(
        (tiny_tokenizer){.post = "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":"
                                 "\"TemplateProcessing\",\"single\":["
                                 "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_"
                                 "id\":0}}],\"pair\":[],"
                                 "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],\"tokens\":[\"<s>\"]}}}]}"});
    assert_int_equal(tokenizer_begin_of_text(t), 1);
    assert_int_equal(tokenizer_after_text(t), -1);
    assert_int_equal(tokenizer_end_of_text(t), 2);
    tokenizer_close(t);
    t = open_tiny(
        (tiny_tokenizer){.post = "{\"type\":\"RobertaProcessing\",\"sep\":[\"</s>\",2],\"cls\":[\"<s>\",1]}"});
    assert_int_equal(tokenizer_begin_of_text(t), 1);
    assert_int_equal(tokenizer_after_text(t), 2);
    tokenizer_close(t);
    put("tokenizer_config.json", "{\"eos_token\": {\"content\": \"<unk>\"}}");
    OK(tokenizer_open(&t, folder));
    assert_int_equal(tokenizer_end_of_text(t), 0);
    path_text files[TOKENIZER_MOST_FILES];
    assert_int_equal(tokenizer_files(t, files), 2);
    assert_string_equal(files[0].text, in("tokenizer.json"));
    assert_string_equal(files[1].text, in("tokenizer_config.json"));
    tokenizer_close(t);
    put("tokenizer_config.json", "{\"eos_token\": \"<eos>\"}");
    FAILS(DATA, "\"eos_token\" is \"<eos>\", which is no token", tokenizer_open(&t, folder));
}

int main(void) {
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_tokens),
        cmocka_unit_test(test_characters_appear_whole),
        WITH_FOLDER(test_merges_by_their_definition),
        WITH_FOLDER(test_texts_without_words),
        WITH_FOLDER(test_any_bytes),
        WITH_FOLDER(test_a_zero_byte),
        WITH_FOLDER(test_added_tokens),
        WITH_FOLDER(test_added_tokens_are_no_words),
        WITH_FOLDER(test_ignore_merges_of_characters),
        WITH_FOLDER(test_text_without_a_place_to_split),
        WITH_FOLDER(test_ends_of_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
