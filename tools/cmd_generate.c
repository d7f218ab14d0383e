#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runtime/log.h"
#include "runtime/printable.h"
#include "tools/commands.h"
#include "tools/model_folder.h"
#include "train/data/corpus.h"
#include "train/sampler.h"

typedef struct {
    char *config, *prompt, *device;
    i64 tokens, top_k, seed, threads, context;
    double temperature, top_p;
    int precision;
    bool help;
} values;

#define AT(field) offsetof(values, field)
/* clang-format off */
static const option table[] = {
    {"prompt", OPT_STRING, AT(prompt), NULL, "TEXT", "what the text begins with; without it, the start of a document", NULL, 0, 0, "Sampling", false},
    {"tokens", OPT_I64, AT(tokens), "500", "N", "at most so many; an end-of-text ends it before", NULL, 1, 1e9, "Sampling", false},
    {"temperature", OPT_F64, AT(temperature), "0.8", "X", "0: always the most likely", NULL, 0, 100, "Sampling", false},
    {"top-k", OPT_I64, AT(top_k), "0", "K", "draw from the K most likely; 0: from all", NULL, 0, 1e9, "Sampling", false},
    {"top-p", OPT_F64, AT(top_p), "1", "P", "draw from the smallest set that holds this probability", NULL, 1e-9, 1, "Sampling", false},
    {"seed", OPT_I64, AT(seed), NULL, "N", "same seed, same text; without it, a new one each time (said)", NULL, 0, 9e18, "Sampling", false},
    {"precision", OPT_CHOICE, AT(precision), "bf16", "KIND", "of weights and activations", "bf16|fp32", 0, 0, "Machine", false},
    {"context", OPT_I64, AT(context), "0", "N", "tokens of key/value cache; 0: the model's context, at most 4096", NULL, 0, 1e9, "Machine", false},
    {"device", OPT_STRING, AT(device), "auto", "NAME", "auto, cpu, cuda or cuda:N", NULL, 0, 0, "Machine", false},
    {"threads", OPT_I64, AT(threads), "0", "N", "CPU threads; 0: all that this process may use", NULL, 0, 1024, "Machine", false},
    {"config", OPT_STRING, AT(config), NULL, "FILE", "JSON of these options ('-' as '_')", NULL, 0, 0, "Machine", true},
    {"help", OPT_FLAG, AT(help), NULL, NULL, "this text", NULL, 0, 0, "Machine", true},
};
/* clang-format on */

static const command_help help = {
    .usage = "tally generate RUN|CHECKPOINT|FOLDER [options]",
    .about = "Samples text from a trained byte-level model, as it is drawn. On a terminal control characters are shown "
             "as \\xNN.\n"
             "  tally generate runs/book --prompt \"Once upon\" --tokens 300 --temperature 0.8\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

/* raw into a file or pipe; a terminal would obey control characters, and the text is from a model that may be anyone's */
static void print_byte(printable_stream *shown, unsigned char byte) {
    if (isatty(STDOUT_FILENO)) fputs(printable_next(shown, byte), stdout);
    else putchar(byte);
}

static status stream(sampler *s, const values *v, const sampling *how) {
    const char *text = v->prompt ? v->prompt : "";
    size_t length = strlen(text);
    int32_t *prompt = malloc((length + 1) * sizeof *prompt), token;
    if (!prompt) FAIL(MEM, "prompt of %zu bytes", length);
    i64 count = 0;
    printable_stream shown = {0};
    prompt[count++] = TOKEN_END_OF_TEXT; /* what stands before every document */
    for (size_t i = 0; i < length; i++) prompt[count++] = (unsigned char)text[i];
    for (size_t i = 0; i < length; i++) print_byte(&shown, (unsigned char)text[i]);
    status_code st = sampler_next(s, &token, prompt, count, how);
    for (i64 i = 1; !st && token != TOKEN_END_OF_TEXT; i++) {
        print_byte(&shown, (unsigned char)token);
        st = command_flush(); /* nobody reads any more: no more is drawn */
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
        FAIL(DATA, "%s: a vocabulary of %ld tokens; expected %d, bytes and end-of-text", f.folder.text, f.config.V,
             BYTE_VOCABULARY);
    i64 most = f.config.context < 4096 ? f.config.context : 4096;
    sampling how = {v->temperature, v->top_k, v->top_p, (uint64_t)v->seed};
    if (!options_given(o, "seed")) {
        how.seed = (uint64_t)time(NULL);
        log_line("seed: %lu", how.seed);
    }
    TRY_DONE(device_open(&dev, v->device, (int)v->threads, 0));
    TRY_DONE(
        sampler_open(&s, dev, &f.config, f.folder.text, v->precision ? F32 : BF16, v->context ? v->context : most));
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
