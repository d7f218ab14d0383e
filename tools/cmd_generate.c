#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runtime/log.h"
#include "runtime/printable.h"
#include "tools/command.h"
#include "tools/generate_prompts.h"
#include "tools/model_folder.h"
#include "tools/shared_options.h"
#include "train/sampler.h"

typedef struct {
    char *config, *prompt, *prompt_file, *tokenizer, *device;
    i64 tokens, top_k, seed, threads, context;
    double temperature, top_p;
    int precision;
    bool begin, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(prompt), .group = "Sampling", .name = "prompt", .argument = "TEXT",
     .help = "text to continue; special tokens in it are recognised; without a prompt, the text begins like a new "
             "document"},
    {AT(prompt_file), .name = "prompt-file", .argument = "FILE",
     .help =
         "read the prompt from a file. Of a .jsonl file, each line is an object with a \"prompt\", and each result is "
         "printed as a line of JSON: prompt, text, tokens (their number), end (stop or length)"},
    {AT(begin), .name = "begin", .default_text = "on",
     .help =
         "put the token that begins a document before the prompt: begin-of-text, or end-of-text if the tokenizer has "
         "no begin-of-text"},
    {AT(tokenizer), OPTION_TOKENIZER},
    {AT(tokens), .name = "tokens", .argument = "N", .default_text = "500", .min = 1, .max = 1e9,
     .help =
         "stop after N tokens, or earlier at a token that generation_config.json lists under \"eos_token_id\" (without "
         "such a list, at end-of-text)"},
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
    .about = "Samples text from a trained model and prints each character as soon as it is complete. On a terminal, "
             "control\n"
             "characters are shown as \\xNN.\n"
             "  tally generate runs/book --prompt \"Once upon\" --tokens 300 --temperature 0.8\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

/* What all prompts of a command share. */
typedef struct {
    const values *v;
    sampling how;
    sampler *s;
    tokenizer *t;
    tokenizer_encoder *encoder;
    token_list stops;
    printable_stream shown;
} generation;

static void close_generation(generation *g) {
    sampler_close(g->s);
    tokenizer_encoder_close(g->encoder);
    tokenizer_close(g->t);
    token_list_free(&g->stops);
}

/* Raw to a file or pipe. A terminal would execute control characters, which an untrusted model could emit. */
static status show(generation *g, const char *text, size_t bytes) {
    if (isatty(STDOUT_FILENO))
        for (size_t i = 0; i < bytes; i++) fputs(printable_next(&g->shown, (unsigned char)text[i]), stdout);
    else fwrite(text, 1, bytes, stdout);
    return command_flush(); /* stop when the reader is gone */
}

/* The token that precedes a text, if there is one, and those of the prompt. */
static status encode(token_list *ids, i64 *before, const generation *g, const generate_prompt *prompt) {
    int32_t begin = tokenizer_begin_of_text(g->t);
    if (begin < 0) begin = tokenizer_end_of_text(g->t); /* which precedes every document in training */
    if (begin >= 0 && g->v->begin) TRY(token_list_add(ids, begin));
    *before = ids->count;
    TRY(tokenizer_encode(g->encoder, ids, prompt->text, prompt->bytes, true));
    if (!ids->count) FAIL(ARG, "--prompt: found no token to begin with; expected a prompt that is not empty");
    return STATUS_OK;
}

static bool stops(const generation *g, int32_t token) {
    for (i64 i = 0; i < g->stops.count; i++)
        if (g->stops.ids[i] == token) return true;
    return false;
}

/* Draws tokens and appends what they say to `text`. live: prints as it goes. */
static status draw(generation *g, tokenizer_decoder *d, const token_list *prompt, tokenizer_text *text,
                   generate_result *r, bool live) {
    size_t printed = text->bytes;
    int32_t token;
    if (live) TRY(show(g, text->text, printed));
    TRY(sampler_next(g->s, &token, prompt->ids, prompt->count, &g->how));
    for (;;) {
        if ((r->stopped = stops(g, token))) break;
        TRY(tokenizer_decode(d, text, &token, 1, false));
        if (live) TRY(show(g, text->text + printed, text->bytes - printed));
        printed = text->bytes;
        if (++r->tokens == g->v->tokens) break;
        TRY(sampler_next(g->s, &token, &token, 1, &g->how));
    }
    TRY(tokenizer_decode(d, text, NULL, 0, true));
    return live ? show(g, text->text + printed, text->bytes - printed) : STATUS_OK;
}

/* The prompt is decoded too: a decoder needs what comes before a token, and the reader sees what the model sees. */
static status continue_prompt(generation *g, const generate_prompt *prompt, i64 index, bool lines) {
    token_list ids = {0};
    tokenizer_decoder *d = NULL;
    tokenizer_text text = {0};
    generate_result r = {0};
    i64 before;
    status_code st = STATUS_OK;
    sampler_restart(g->s, (uint64_t)index);
    TRY_DONE(encode(&ids, &before, g, prompt));
    TRY_DONE(tokenizer_decoder_open(&d, g->t, true));
    TRY_DONE(tokenizer_decode(d, &text, ids.ids + before, ids.count - before, false));
    size_t from = text.bytes;
    TRY_DONE(draw(g, d, &ids, &text, &r, !lines));
    r.text = (generate_prompt){text.text + from, text.bytes - from};
    if (lines) st = generate_prompts_print(prompt, &r);
    else putchar('\n');
done:
    tokenizer_decoder_close(d);
    tokenizer_text_free(&text);
    token_list_free(&ids);
    return st;
}

static status generate(const options *o, const values *v) {
    model_folder f;
    device *dev = NULL;
    generation g = {.v = v, .how = {v->temperature, v->top_k, v->top_p, (uint64_t)v->seed}};
    generate_prompts prompts = {0};
    status_code st = STATUS_OK;
    TRY(command_words(o, 1, 1, "run, checkpoint or model folder"));
    TRY(model_folder_find(&f, o->words.list[0]));
    TRY_DONE(generate_prompts_read(&prompts, v->prompt, v->prompt_file));
    TRY_DONE(model_folder_tokenizer(&g.t, &f, v->tokenizer));
    TRY_DONE(tokenizer_encoder_open(&g.encoder, g.t, true));
    TRY_DONE(model_folder_stops(&g.stops, &f, g.t));
    i64 most = f.config.context < 4096 ? f.config.context : 4096;
    if (!options_given(o, "seed")) {
        g.how.seed = (uint64_t)time(NULL);
        log_line("seed: %lu", g.how.seed);
    }
    TRY_DONE(device_open(&dev, v->device, (int)v->threads, 0));
    TRY_DONE(sampler_open(&g.s, dev, &f.config, f.folder.text, (dtype)v->precision, v->context ? v->context : most));
    model_config_log(&f.config, false);
    for (i64 i = 0; i < prompts.count; i++) TRY_DONE(continue_prompt(&g, &prompts.list[i], i, prompts.lines));
done:
    close_generation(&g);
    generate_prompts_free(&prompts);
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
