#include "train/data/tokenizer_train.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/json.h"
#include "runtime/path.h"
#include "train/data/added_tokens.h"
#include "train/data/bpe_train.h"
#include "train/data/byte_level.h"
#include "train/data/text_words.h"
#include "train/data/unicode.h"

/* All of them keep what text_words.h asks for. */
#define TO_3_DIGITS                                                                                                    \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"           \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define ONE_DIGIT                                                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"                \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
static const char *const regexes[] = {
    [WORDS_GPT2] = PATTERN_GPT2, [WORDS_LLAMA3] = TO_3_DIGITS, [WORDS_QWEN2] = ONE_DIGIT};

static const char *const end_of_text[] = {"<|endoftext|>"};

/* ---- the files ---- */

#define KEEP(item)                                                                                                     \
    do {                                                                                                               \
        if (!(item)) FAIL(MEM, "no memory for a tokenizer");                                                           \
    } while (0)

static status add_special(json_t *list, i64 id, const char *name) {
    json_t *o = json_append_object(list);
    KEEP(o);
    TRY(json_add_i64(o, "id", id));
    TRY(json_add_string(o, "content", name));
    TRY(json_add_bool(o, "single_word", false));
    TRY(json_add_bool(o, "lstrip", false));
    TRY(json_add_bool(o, "rstrip", false));
    TRY(json_add_bool(o, "normalized", false));
    return json_add_bool(o, "special", true);
}

static status fill_byte_level(json_t *o, bool use_regex) {
    TRY(json_add_string(o, "type", "ByteLevel"));
    TRY(json_add_bool(o, "add_prefix_space", false));
    TRY(json_add_bool(o, "trim_offsets", true));
    return json_add_bool(o, "use_regex", use_regex);
}

/* GPT-2's pattern is part of ByteLevel. */
static status fill_pre_tokenizer(json_t *o, word_pattern words) {
    if (words == WORDS_GPT2) return fill_byte_level(o, true);
    TRY(json_add_string(o, "type", "Sequence"));
    json_t *parts = json_add_array(o, "pretokenizers"), *split = json_append_object(parts), *regex;
    KEEP(split);
    TRY(json_add_string(split, "type", "Split"));
    KEEP(regex = json_add_object(split, "pattern"));
    TRY(json_add_string(regex, "Regex", regexes[words]));
    TRY(json_add_string(split, "behavior", "Isolated"));
    TRY(json_add_bool(split, "invert", false));
    json_t *bytes = json_append_object(parts);
    KEEP(bytes);
    return fill_byte_level(bytes, false);
}

static status fill_model(json_t *o, const bpe_tokens *t) {
    static const char *const none[] = {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"};
    static const char *const off[] = {"fuse_unk", "byte_fallback", "ignore_merges"};
    TRY(json_add_string(o, "type", "BPE"));
    for (int i = 0; i < 4; i++) KEEP(!json_object_set_new(o, none[i], json_null()));
    for (int i = 0; i < 3; i++) TRY(json_add_bool(o, off[i], false));
    json_t *vocab = json_add_object(o, "vocab"), *merges = json_add_array(o, "merges");
    KEEP(vocab && merges);
    for (i64 id = 0; id < t->tokens.size; id++) TRY(json_add_i64(vocab, vocabulary_name(&t->tokens, id), id));
    for (i64 i = 0; i < t->merge_count; i++) {
        const char *left = vocabulary_name(&t->tokens, t->merges[i].left);
        json_t *merge = json_pack("[ss]", left, vocabulary_name(&t->tokens, t->merges[i].right));
        KEEP(merge && !json_array_append_new(merges, merge));
    }
    return STATUS_OK;
}

static status fill_tokenizer(json_t *o, const bpe_tokens *t, const tokenizer_train_options *options) {
    static const char *const none[] = {"truncation", "padding"};
    TRY(json_add_string(o, "version", "1.0"));
    for (int i = 0; i < 2; i++) KEEP(!json_object_set_new(o, none[i], json_null()));
    json_t *added = json_add_array(o, "added_tokens");
    KEEP(added);
    for (int i = 0; i < options->special_count; i++) TRY(add_special(added, i, options->special[i]));
    KEEP(!json_object_set_new(o, "normalizer", json_null()));
    json_t *pre = json_add_object(o, "pre_tokenizer");
    KEEP(pre);
    TRY(fill_pre_tokenizer(pre, options->pattern));
    KEEP(!json_object_set_new(o, "post_processor", json_null()));
    json_t *decoder = json_add_object(o, "decoder"), *model;
    KEEP(decoder);
    TRY(fill_byte_level(decoder, true));
    KEEP(model = json_add_object(o, "model"));
    return fill_model(model, t);
}

static status fill_config(json_t *o, const tokenizer_train_options *options) {
    TRY(json_add_string(o, "tokenizer_class", "PreTrainedTokenizerFast"));
    TRY(json_add_string(o, "eos_token", options->special[0]));
    TRY(json_add_bool(o, "clean_up_tokenization_spaces", false));
    return json_add_i64(o, "model_max_length", 1000000000); /* no limit of the tokenizer's own */
}

static status write_files(const char *folder, const bpe_tokens *t, const tokenizer_train_options *o) {
    json_t *json = json_object();
    TRY(json_write_file(json, fill_config(json, o), path_join(folder, "tokenizer_config.json").text));
    json = json_object();
    return json_write_file(json, fill_tokenizer(json, t, o), path_join(folder, "tokenizer.json").text);
}

/* ---- training ---- */

static status add_specials(vocabulary *tokens, const tokenizer_train_options *o) {
    for (int i = 0; i < o->special_count; i++) {
        const char *name = o->special[i];
        size_t bytes = strlen(name);
        bool more;
        if (!bytes || bytes > ADDED_TOKENS_LONGEST || unicode_valid(name, bytes, &more) < bytes)
            FAIL(ARG, "--special \"%.60s\": expected UTF-8 of 1 to %d bytes", name, ADDED_TOKENS_LONGEST);
        if (vocabulary_find(tokens, name, bytes) >= 0) FAIL(ARG, "--special \"%s\": given twice", name);
        TRY(vocabulary_add(tokens, i, name, bytes));
    }
    return STATUS_OK;
}

/* whether text has this name as a word or a byte, which then would become the special token */
static status is_word(bool *word, pattern_matcher *m, const char *name) {
    char text[ADDED_TOKENS_LONGEST];
    bool more;
    long count = byte_level_read(text, name, strlen(name));
    *word = count == 1;
    if (count < 2 || unicode_valid(text, (size_t)count, &more) < (size_t)count) return STATUS_OK;
    pattern_found found;
    TRY(pattern_find(m, &found, text, (size_t)count, 0, false));
    *word = found.start == 0 && found.end == (size_t)count;
    return STATUS_OK;
}

static status check_specials(const pattern *split, const tokenizer_train_options *o) {
    pattern_matcher *m;
    TRY(pattern_matcher_open(&m, split));
    status_code st = STATUS_OK;
    for (int i = 0; i < o->special_count; i++) {
        bool word;
        TRY_DONE(is_word(&word, m, o->special[i]));
        if (word)
            FAIL_DONE(ARG,
                      "--special \"%s\": is a word, which text may hold; expected a name that the pattern splits, such "
                      "as <|%s|>",
                      o->special[i], o->special[i]);
    }
done:
    pattern_matcher_close(m);
    return st;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static status prepare_folder(const char *folder) {
    path_text file = path_join(folder, "tokenizer.json");
    if (access(file.text, F_OK) == 0) FAIL(ARG, "%s: exists already; expected a folder without a tokenizer", file.text);
    return durable_make_folders(folder);
}

static status train(tokenizer_training *t, bpe_tokens *tokens, const text_source *from,
                    const tokenizer_train_options *o) {
    pattern *split = NULL;
    word_counts words = {0};
    status_code st = STATUS_OK;
    double begin = seconds();
    TRY_DONE(pattern_open(&split, regexes[o->pattern]));
    TRY_DONE(check_specials(split, o));
    TRY_DONE(text_words_count(&words, &t->read, from, split, o->threads));
    t->different_words = words.count;
    for (i64 i = 0; i < words.count; i++) t->words += words.words[i].times;
    t->read_s = seconds() - begin;
    TRY_DONE(bpe_train(tokens, &words, o->vocab_size, o->min_frequency));
    t->tokens = tokens->tokens.size;
    t->merges = tokens->merge_count;
    t->least = tokens->least;
    t->merge_s = seconds() - begin - t->read_s;
done:
    word_counts_free(&words);
    pattern_close(split);
    return st;
}

status tokenizer_train(tokenizer_training *t, const char *folder, const text_source *from,
                       const tokenizer_train_options *options) {
    *t = (tokenizer_training){0};
    tokenizer_train_options o = *options;
    bpe_tokens tokens = {0};
    status_code st = STATUS_OK;
    if (!o.special) o.special = end_of_text, o.special_count = 1;
    if (o.vocab_size <= 256 + o.special_count)
        FAIL(ARG, "--vocab-size: found %ld, expected more than %d: the bytes and the special tokens", o.vocab_size,
             256 + o.special_count);
    TRY_DONE(add_specials(&tokens.tokens, &o));
    TRY_DONE(prepare_folder(folder));
    TRY_DONE(train(t, &tokens, from, &o));
    TRY_DONE(write_files(folder, &tokens, &o));
done:
    bpe_train_free(&tokens);
    if (st) tokenizer_train_free(t);
    return st;
}

void tokenizer_train_free(tokenizer_training *t) { documents_free(&t->read); }
