#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runtime/log.h"
#include "runtime/printable.h"
#include "tools/command.h"
#include "tools/model_folder.h"
#include "tools/shared_options.h"
#include "train/data/corpus.h"
#include "train/sampler.h"

typedef struct {
    char *config, *prompt, *device;
    i64 tokens, top_k, seed, threads, context;
    double temperature, top_p;
    int precision;
    bool help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(prompt), .group = "Sampling", .name = "prompt", .argument = "TEXT",
     .help = "text to continue; without it, the text begins like a new document"},
    {AT(tokens), .name = "tokens", .argument = "N", .default_text = "500", .min = 1, .max = 1e9,
     .help = "stop after N tokens, or earlier at an end-of-text"},
    {AT(temperature), .name = "temperature", .argument = "X", .default_text = "0.8", .min = 0, .max = 100,
     .help = "divide the logits by X before drawing: less than 1 favours likely tokens; 0 always takes the most likely "
             "token"},
    {AT(top_k), .name = "top-k", .argument = "K", .default_text = "0", .min = 0, .max = 1e9,
     .help = "draw from the K most likely tokens; 0: from all tokens"},
    {AT(top_p), .name = "top-p", .argument = "P", .default_text = "1", .min = 1e-9, .max = 1,
     .help = "draw from the smallest set of tokens whose probabilities add up to P"},
    {AT(seed), .name = "seed", .argument = "N", .min = 0, .max = 9e18,
     .help = "seed of the random draws: the same seed gives the same text; without it, a new one each time, which is "
             "logged"},

    {AT(precision), .group = "Machine", OPTION_PRECISION},
    {AT(context), .name = "context", .argument = "N", .default_text = "0", .min = 0, .max = 1e9,
     .help = "tokens that the key/value cache has room for; 0: the model's context, but at most 4096"},
    {AT(device), OPTION_DEVICE},
    {AT(threads), OPTION_THREADS},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally generate RUN|CHECKPOINT|FOLDER [options]",
    .about =
        "Samples text from a trained byte-level model and prints each byte as soon as it is drawn. On a terminal,\n"
        "control characters are shown as \\xNN.\n"
        "  tally generate runs/book --prompt \"Once upon\" --tokens 300 --temperature 0.8\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

/* Raw to a file or pipe. A terminal would execute control characters, which an untrusted model could emit. */
static void print_byte(printable_stream *shown, unsigned char byte) {
    if (isatty(STDOUT_FILENO)) fputs(printable_next(shown, byte), stdout);
    else putchar(byte);
}

static status stream(sampler *s, const values *v, const sampling *how) {
    const char *text = v->prompt ? v->prompt : "";
    size_t length = strlen(text);
    int32_t *prompt = malloc((length + 1) * sizeof *prompt), token;
    if (!prompt) FAIL(MEM, "no memory for a prompt of %zu bytes", length);
    i64 count = 0;
    printable_stream shown = {0};
    prompt[count++] = TOKEN_END_OF_TEXT; /* precedes every document in training */
    for (size_t i = 0; i < length; i++) prompt[count++] = (unsigned char)text[i];
    for (size_t i = 0; i < length; i++) print_byte(&shown, (unsigned char)text[i]);
    status_code st = sampler_next(s, &token, prompt, count, how);
    for (i64 i = 1; !st && token != TOKEN_END_OF_TEXT; i++) {
        print_byte(&shown, (unsigned char)token);
        st = command_flush(); /* stop when the reader is gone */
        if (st || i == v->tokens) break;
        st = sampler_next(s, &token, &token, 1, how);
    }
    putchar('\n');
    free(prompt);
    return st;
}

static status generate(const options *o, const values *v) {
    model_folder f;
    device *dev = NULL;
    sampler *s = NULL;
    status_code st = STATUS_OK;
    TRY(command_words(o, 1, 1, "run, checkpoint or model folder"));
    TRY(model_folder_find(&f, o->words.list[0]));
    if (f.config.V != BYTE_VOCABULARY)
        FAIL(DATA, "%s: the vocabulary has %ld tokens; expected %d: the bytes and an end-of-text", f.folder.text,
             f.config.V, BYTE_VOCABULARY);
    i64 most = f.config.context < 4096 ? f.config.context : 4096;
    sampling how = {v->temperature, v->top_k, v->top_p, (uint64_t)v->seed};
    if (!options_given(o, "seed")) {
        how.seed = (uint64_t)time(NULL);
        log_line("seed: %lu", how.seed);
    }
    TRY_DONE(device_open(&dev, v->device, (int)v->threads, 0));
    TRY_DONE(sampler_open(&s, dev, &f.config, f.folder.text, (dtype)v->precision, v->context ? v->context : most));
    model_config_log(&f.config, false);
    TRY_DONE(stream(s, v, &how));
done:
    sampler_close(s);
    device_close(dev);
    return st;
}

status command_generate(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = generate(&o, &v);
    options_free(&o);
    return st;
}
