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
    i64 tokens, batch, top_k, seed, threads, context;
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
    {AT(batch), .name = "batch", .argument = "B", .default_text = "8", .min = 1, .max = SAMPLER_MOST_ROWS,
     .help = "prompts of a .jsonl file that are continued together; the results are equal within rounding for any B"},
    {AT(begin), .name = "begin",
     .help = "put the token that begins a document before every prompt: begin-of-text, or end-of-text if the tokenizer "
             "has no begin-of-text; by default only where the tokenizer begins every text with it, where tokens are "
             "bytes, or where the prompt is empty"},
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
     .help = "tokens of a text that the key/value cache has room for; 0: as many as the longest prompt and --tokens "
             "need, at most "
             "the model's context and 4096. When it is full, the last half is computed again"},
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

/* A prompt and the text that continues it. */
typedef struct {
    token_list ids; /* of the prompt, and the token that precedes it */
    i64 before;     /* how many of them precede the prompt */
    tokenizer_decoder *decoder;
    tokenizer_text text; /* decoded: the prompt first */
    size_t from;         /* where the continuation begins in it */
    i64 tokens;
    bool stopped, done;
} continuation;

/* What all prompts of a command share. */
typedef struct {
    const values *v;
    bool begin_given; /* --begin or --no-begin */
    sampling how;
    sampler *s;
    tokenizer *t;
    tokenizer_encoder *encoder;
    token_list stops;
    generate_prompts prompts;
    continuation *list; /* [prompts.count] */
    printable_stream shown;
    size_t printed; /* of the only prompt's text */
} generation;

static void close_generation(generation *g) {
    for (i64 i = 0; g->list && i < g->prompts.count; i++) {
        tokenizer_decoder_close(g->list[i].decoder);
        tokenizer_text_free(&g->list[i].text);
        token_list_free(&g->list[i].ids);
    }
    free(g->list);
    sampler_close(g->s);
    tokenizer_encoder_close(g->encoder);
    tokenizer_close(g->t);
    token_list_free(&g->stops);
    generate_prompts_free(&g->prompts);
}

/* Raw to a file or pipe. A terminal would execute control characters, which an untrusted model could emit. */
static status show(generation *g, const tokenizer_text *text) {
    if (g->prompts.lines) return STATUS_OK;
    const char *from = text->text + g->printed;
    size_t bytes = text->bytes - g->printed;
    if (isatty(STDOUT_FILENO))
        for (size_t i = 0; i < bytes; i++) fputs(printable_next(&g->shown, (unsigned char)from[i]), stdout);
    else fwrite(from, 1, bytes, stdout);
    g->printed = text->bytes;
    return command_flush(); /* stop when the reader is gone */
}

/* The token that precedes a text, if there is one, and those of the prompt. */
static status encode(continuation *c, const generation *g, const generate_prompt *prompt) {
    int32_t begin = tokenizer_begin_of_text(g->t);
    bool bytes = strcmp(tokenizer_fingerprint(g->t), "bytes") == 0;
    bool wanted = g->begin_given ? g->v->begin : begin >= 0 || bytes || !prompt->bytes;
    if (begin < 0) begin = tokenizer_end_of_text(g->t); /* which precedes every document in training */
    if (begin >= 0 && wanted) TRY(token_list_add(&c->ids, begin));
    c->before = c->ids.count;
    TRY(tokenizer_encode(g->encoder, &c->ids, prompt->text, prompt->bytes, true));
    if (!c->ids.count) FAIL(ARG, "--prompt: found no token to begin with; expected a prompt that is not empty");
    return STATUS_OK;
}

static status encode_prompts(generation *g, i64 *longest) {
    *longest = 0;
    TRY(tokenizer_encoder_open(&g->encoder, g->t, true));
    g->list = calloc((size_t)g->prompts.count, sizeof *g->list);
    if (!g->list) FAIL(MEM, "no memory for %ld prompts", g->prompts.count);
    for (i64 i = 0; i < g->prompts.count; i++) {
        TRY(encode(&g->list[i], g, &g->prompts.list[i]));
        if (g->list[i].ids.count > *longest) *longest = g->list[i].ids.count;
    }
    return STATUS_OK;
}

/* The token that was drawn: either it ends the text, or its text is appended. */
static status take(generation *g, continuation *c, int32_t token) {
    for (i64 i = 0; i < g->stops.count; i++) c->stopped |= g->stops.ids[i] == token;
    if (!c->stopped) {
        TRY(tokenizer_decode(c->decoder, &c->text, &token, 1, false));
        c->tokens++;
    }
    c->done = c->stopped || c->tokens == g->v->tokens;
    if (c->done) TRY(tokenizer_decode(c->decoder, &c->text, NULL, 0, true));
    return show(g, &c->text);
}

/* The prompt is decoded too: a decoder needs what comes before a token, and the reader sees what the model sees. */
static status begin(generation *g, i64 index, i64 row, int32_t *token) {
    continuation *c = &g->list[index];
    TRY(tokenizer_decoder_open(&c->decoder, g->t, true));
    TRY(tokenizer_decode(c->decoder, &c->text, c->ids.ids + c->before, c->ids.count - c->before, false));
    c->from = c->text.bytes;
    TRY(show(g, &c->text));
    sampler_restart(g->s, row, (uint64_t)index);
    TRY(sampler_next(g->s, row, token, c->ids.ids, c->ids.count, &g->how));
    return take(g, c, *token);
}

/* Continues prompts first .. first + count - 1 together. */
static status continue_together(generation *g, i64 first, i64 count) {
    int32_t last[SAMPLER_MOST_ROWS], tokens[SAMPLER_MOST_ROWS];
    i64 rows[SAMPLER_MOST_ROWS], n;
    for (i64 r = 0; r < count; r++) TRY(begin(g, first + r, r, &last[r]));
    for (;;) {
        n = 0;
        for (i64 r = 0; r < count; r++)
            if (!g->list[first + r].done) rows[n] = r, tokens[n++] = last[r];
        if (!n) return STATUS_OK;
        TRY(sampler_next_rows(g->s, rows, n, tokens, &g->how));
        for (i64 i = 0; i < n; i++) {
            last[rows[i]] = tokens[i];
            TRY(take(g, &g->list[first + rows[i]], tokens[i]));
        }
    }
}

static status continue_all(generation *g, i64 batch) {
    for (i64 first = 0; first < g->prompts.count; first += batch) {
        i64 left = g->prompts.count - first, count = left < batch ? left : batch;
        TRY(continue_together(g, first, count));
        for (i64 i = first; g->prompts.lines && i < first + count; i++) {
            const continuation *c = &g->list[i];
            const generate_result r = {
                .text = {c->text.text + c->from, c->text.bytes - c->from}, .tokens = c->tokens, .stopped = c->stopped};
            TRY(generate_prompts_print(&g->prompts.list[i], &r));
        }
    }
    if (!g->prompts.lines) putchar('\n');
    return STATUS_OK;
}

static status generate(const options *o, const values *v) {
    model_folder f;
    device *dev = NULL;
    generation g = {.v = v,
                    .begin_given = options_given(o, "begin"),
                    .how = {v->temperature, v->top_k, v->top_p, (uint64_t)v->seed}};
    i64 longest;
    status_code st = STATUS_OK;
    TRY(command_words(o, 1, 1, "run, checkpoint or model folder"));
    TRY(model_folder_find(&f, o->words.list[0]));
    TRY_DONE(generate_prompts_read(&g.prompts, v->prompt, v->prompt_file));
    TRY_DONE(model_folder_tokenizer(&g.t, &f, v->tokenizer));
    TRY_DONE(model_folder_stops(&g.stops, &f, g.t));
    TRY_DONE(model_folder_log_settings(&f));
    TRY_DONE(encode_prompts(&g, &longest));
    i64 room = longest + v->tokens, most = f.config.context < 4096 ? f.config.context : 4096;
    if (room > most) room = most;
    if (!options_given(o, "seed")) {
        g.how.seed = (uint64_t)time(NULL);
        log_line("seed: %lu", g.how.seed);
    }
    i64 batch = v->batch < g.prompts.count ? v->batch : g.prompts.count;
    TRY_DONE(device_open(&dev, v->device, (int)v->threads, 0));
    TRY_DONE(
        sampler_open(&g.s, dev, &f.config, f.folder.text, (dtype)v->precision, v->context ? v->context : room, batch));
    model_config_log(&f.config, false);
    st = continue_all(&g, batch);
done:
    close_generation(&g);
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
