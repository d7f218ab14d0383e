#include <stdio.h>

#include "runtime/device.h"
#include "runtime/log.h"
#include "runtime/text.h"
#include "tools/cmd_tokenizer.h"
#include "tools/shared_options.h"
#include "train/data/tokenizer_train.h"

typedef struct {
    char *config, *out;
    string_list data, special;
    text_options text;
    i64 vocab_size, min_frequency, threads;
    int pattern;
    bool json, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(data), .group = "Text", OPTION_DATA("text to learn from")},
    {AT(text.key), OPTION_TEXT_KEY},
    {AT(text.max_bad_lines), OPTION_MAX_BAD_LINES},

    {AT(out), .group = "Tokenizer", .name = "out", .argument = "DIR",
     .help = "the folder to write tokenizer.json and tokenizer_config.json to; it must not hold a tokenizer yet"},
    {AT(vocab_size), .name = "vocab-size", .argument = "N", .default_text = "4096", .min = 258, .max = 1 << 20,
     .help = "tokens in the vocabulary: the special tokens, the 256 bytes, and one for each merge"},
    {AT(min_frequency), .name = "min-frequency", .argument = "N", .default_text = "2", .min = 1, .max = 1e15,
     .help = "merge only pairs of tokens that occur at least N times; the vocabulary may then be smaller than "
             "--vocab-size"},
    {AT(pattern), .name = "pattern", .choices = CHOICES_TEXT(WORD_PATTERN_LIST), .default_text = "gpt2",
     .help = "the pattern that splits text into words, which no token crosses: that of GPT-2, Llama 3 (up to 3 digits "
             "in a token) or Qwen2 (one digit in a token)"},
    {AT(special), .name = "special", .argument = "TOKEN",
     .help = "special tokens: training text is never encoded to them; the first one ends a document; by default "
             "<|endoftext|> alone"},

    {AT(threads), .group = "Machine", OPTION_THREADS},

    {AT(json), .group = "Output", OPTION_JSON},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally tokenizer train --data PATH... --out DIR [options]",
    .about =
        "Trains a byte-level BPE tokenizer on text, as the library `tokenizers` does, and writes a tokenizer.json\n"
        "that it, transformers and tally read. Every text can be encoded, and decodes to itself.\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

static status fill_json(json_t *o, const values *v, const tokenizer_training *t) {
    TRY(json_add_string(o, "tokenizer", v->out));
    TRY(json_add_i64(o, "tokens", t->tokens));
    TRY(json_add_i64(o, "merges", t->merges));
    TRY(json_add_i64(o, "last_merge_times", t->least));
    TRY(json_add_i64(o, "documents", t->read.count));
    TRY(json_add_i64(o, "text_bytes", t->read.bytes));
    TRY(json_add_i64(o, "words", t->words));
    TRY(json_add_i64(o, "different_words", t->different_words));
    TRY(json_add_i64(o, "bad_lines", t->read.bad_lines));
    TRY(json_add_double(o, "read_s", t->read_s));
    return json_add_double(o, "merge_s", t->merge_s);
}

static status print_result(const values *v, const tokenizer_training *t) {
    if (v->json) {
        json_t *o = json_object();
        return command_print_json(o, fill_json(o, v, t));
    }
    printf("%s: %ld tokens, from %s of text with %ld different words, in %.1f s (reading %.1f s)\n", v->out, t->tokens,
           text_bytes((double)t->read.bytes).text, t->different_words, t->read_s + t->merge_s, t->read_s);
    return STATUS_OK;
}

static status train(const options *o, const values *v) {
    TRY(command_words(o, 0, 0, "options"));
    if (!v->data.count) FAIL(ARG, "--data: missing; expected files or folders of text");
    if (!v->out) FAIL(ARG, "--out: missing; expected a folder to write the tokenizer to");
    device *dev = NULL;
    tokenizer_training t;
    TRY(device_open(&dev, "cpu", (int)v->threads, 0));
    tokenizer_train_options how = {.vocab_size = v->vocab_size,
                                   .min_frequency = v->min_frequency,
                                   .pattern = (word_pattern)v->pattern,
                                   .special = (const char *const *)v->special.list,
                                   .special_count = v->special.count,
                                   .threads = dev->threads};
    text_source from = shared_options_text(&v->text, (const char *const *)v->data.list, v->data.count);
    status_code st = STATUS_OK;
    device_close(dev);
    TRY(tokenizer_train(&t, v->out, &from, &how));
    documents_log(&t.read);
    if (t.tokens < v->vocab_size)
        log_line("tokenizer: %ld tokens instead of %ld: no other pair of tokens occurs %ld times", t.tokens,
                 v->vocab_size, v->min_frequency);
    st = print_result(v, &t);
    tokenizer_train_free(&t);
    return st;
}

status cmd_tokenizer_train(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = train(&o, &v);
    options_free(&o);
    return st;
}
