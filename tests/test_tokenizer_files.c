/* Files of tokenizers: styles of one and the same, and what is refused. */
#include "tests/tokenizer_folder.h"

static void test_one_tokenizer_in_three_styles(void **state) {
    (void)state;
    FILE *f = fopen(in("vocab.json"), "w");
    char first[64];
    tokenizer *t = open_tiny((tiny_tokenizer){.byte_level = true, .added = "[]"});
    strcpy(first, tokenizer_fingerprint(t));
    assert_int_equal(strncmp(first, "bpe-270-", 8), 0);
    tokenizer_close(t);
    t = open_tiny((tiny_tokenizer){.byte_level = true, .arrays = true, .added = "[]", .normalizer = "null"});
    assert_string_equal(tokenizer_fingerprint(t), first);
    tokenizer_close(t);
    t = open_tiny((tiny_tokenizer){.byte_level = true, .added = "[]", .model = "\"ignore_merges\":true,"});
    assert_string_not_equal(tokenizer_fingerprint(t), first);
    tokenizer_close(t);
    assert_int_equal(unlink(in("tokenizer.json")), 0);
    assert_non_null(f);
    tiny_vocabulary(f, true);
    assert_int_equal(fclose(f), 0);
    f = fopen(in("merges.txt"), "w");
    assert_non_null(f);
    fputs("#version: 0.2\n", f);
    for (int i = 0; i < TINY_BYTE_MERGES; i++) fprintf(f, "%s %s\r\n", tiny_byte_merges[i][0], tiny_byte_merges[i][1]);
    assert_int_equal(fclose(f), 0);
    OK(tokenizer_open(&t, folder));
    assert_string_equal(tokenizer_fingerprint(t), first);
    assert_int_equal(tokenizer_end_of_text(t), -1);
    IDS(t, true, "hello w", TINY_BYTE_MERGE + 5, TINY_BYTE_MERGE + 2);
    tokenizer_close(t);
    put_bytes("merges.txt", "h e\n\0\nl l\n", 10);
    FAILS(DATA, "merges.txt: found a NUL byte at offset 4", tokenizer_open(&t, folder));
    put("tokenizer_config.json", "{\"tokenizer_class\": \"Qwen2Tokenizer\"}");
    FAILS(DATA, "\"Qwen2Tokenizer\", which needs a tokenizer.json", tokenizer_open(&t, folder));
    assert_int_equal(unlink(in("merges.txt")), 0);
    FAILS(DATA, "holds no tokenizer, expected tokenizer.json", tokenizer_open(&t, folder));
    put("tokenizer.model", "x");
    FAILS(DATA, "tokenizer.model: is not supported", tokenizer_open(&t, folder));
    FAILS(DATA, "none: No such file", tokenizer_open(&t, in("none")));
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        tiny_tokenizer how;
        const char *message;
    } cases[] = {
        {{.normalizer = "{\"type\":\"Lowercase\"}"}, "tokenizer.json: the normalizer \"Lowercase\" is not supported"},
        {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"b\"}"},
         "\"Replace\" with a Regex"},
        {{.normalizer = "{\"type\":\"Replace\",\"content\":\"b\"}"}, "has no \"pattern\" that is a String or a Regex"},
        {{.pre_tokenizer = "{\"type\":\"BertPreTokenizer\"}"},
         "the pre-tokenizer \"BertPreTokenizer\" is not supported"},
        {{.pre_tokenizer = "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\bx\"},\"behavior\":\"Isolated\"}"},
         "tokenizer.json: the pattern \"\\bx\" has an escape at character 1"},
        {{.pre_tokenizer = "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x\"},\"behavior\":\"Odd\"}"},
         "\"Odd\" is not supported"},
        {{.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"ab\"}"},
         "\"replacement\" is \"ab\", expected one character"},
        {{.post = "{\"type\":\"Odd\"}"}, "the post-processor \"Odd\" is not supported"},
        {{.post = "{\"type\":\"RobertaProcessing\",\"sep\":[\"x\",99999],\"cls\":[\"<s>\",1]}"},
         "the id 99999, which no token has"},
        {{.model = "\"dropout\":0.1,"}, "\"dropout\" of the model is not supported"},
        {{.model = "\"continuing_subword_prefix\":\"##\","},
         "\"continuing_subword_prefix\" of the model, \"##\", is not supported"},
        {{.model = "\"end_of_word_suffix\":{\"a\":1},"}, "\"end_of_word_suffix\" is an object, expected a string"},
        {{.added = "{\"id\":1}"}, "\"added_tokens\" is an object, expected an array"},
        {{.pre_tokenizer = "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x\"},\"behavior\":5}"},
         "\"behavior\" is a number or a boolean, expected a string"},
        {{.pre_tokenizer =
              "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false,\"prepend_scheme\":\"first\"}"},
         "\"prepend_scheme\" is \"first\" but \"add_prefix_space\" is false"},
        {{.model = "\"new\":1,"}, "\"new\" of the model is not supported"},
        {{.model = "\"vocab\":{},"}, "\"vocab\""},
        {{.added = "[{\"id\":1,\"content\":\"</s>\"}]"},
         "the added token \"</s>\" has the id 1, but 2 in the vocabulary"},
        {{.added = "[{\"id\":1,\"content\":\"<new>\"}]"}, "the tokens \"<s>\" and \"<new>\" have the same id 1"},
        {{.added = "[{\"id\":99999999,\"content\":\"<new>\"}]"}, "has the id 99999999, expected 0 to"},
        {{.added = "[{\"id\":999,\"content\":\"x\",\"single_word\":true}]"},
         "\"single_word\" of the added token \"x\""},
        {{.added = "[{\"id\":999,\"content\":\"\"}]"}, "the added token with the id 999 has no content"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer *t;
        status_code st = try_text(&t, tiny_text(&cases[i].how));
        if (st != STATUS_DATA || !strstr(status_message(), cases[i].message) ||
            strncmp(status_message(), folder, strlen(folder)))
            fail_msg("case %zu: %s", i, st ? status_message() : "not refused");
        assert_null(t);
    }
    tokenizer *long_token;
    char added[700];
    snprintf(added, sizeof added, "[{\"id\":999,\"normalized\":false,\"content\":\"%0513d\"}]", 0);
    FAILS(DATA, "the added token with the id 999 is 513 bytes long, expected at most 512",
          try_text(&long_token, tiny_text(&(tiny_tokenizer){.added = added})));
    static const struct {
        const char *text, *message;
    } broken[] = {
        {"", "found the end of the file, expected {"},
        {"{}", "has no \"model\""},
        {"{\"model\":{\"vocab\":{}}}", "its model has no \"merges\""},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{},\"merges\":[]}}",
         "has the type \"WordPiece\", expected \"BPE\""},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b\"]},\"decoder\":{\"type\":\"Fuse\"}}",
         "merge 1 has \"b\", which is no token"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "merge 1 is \"a\", expected two tokens"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "have the same id 0"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}", "has two ids, 0 and 1"},
        {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "has the id -1"},
        {"{\"model\":{\"vocab\":{\"\\q\":1},\"merges\":[]}}", "expected a string of UTF-8"},
        {"{\"model\":{\"vocab\":{\"a\":1.5},\"merges\":[]}}", "expected }"},
        {"{\"model\":{\"vocab\":[],\"merges\":[]}}", "expected {"},
        {"{\"model\":{\"vocab\":{},\"merges\":[]}", "end of the file"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "has no decoder"},
        {"{\"model\":{\"vocab\":{},\"merges\":[]}} x", ""},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"more\":1}", ": \"more\" is not supported"},
        {"{\"version\":\"2.0\",\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "version \"2.0\", expected \"1.0\""},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        tokenizer *t;
        status_code st = try_text(&t, strdup(broken[i].text));
        if (st != STATUS_DATA || !strstr(status_message(), broken[i].message))
            fail_msg("broken %zu: %s", i, st ? status_message() : "not refused");
    }
}

int main(void) {
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_one_tokenizer_in_three_styles),
        WITH_FOLDER(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
