#include <sched.h>
#include <stdio.h>

#include "runtime/host.h"
#include "runtime/log.h"
#include "runtime/text.h"
#include "tools/command.h"
#include "tools/shared_options.h"
#include "train/data/tokenize.h"

typedef struct {
    char *config, *out, *tokenizer, *template;
    text_options text;
    int format; /* shard_format */
    i64 shard_tokens, threads;
    bool json, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(tokenizer), .group = "Text", OPTION_TOKENIZER_FILE},
    {AT(text.key), OPTION_TEXT_KEY},
    {AT(template), .name = "template", .argument = "TEXT",
     .help = "make each document from several keys of a JSON object: {KEY} stands for the string under KEY, {{ and }} "
             "for braces, \\n, \\t and \\\\ for newline, tab and backslash; replaces --text-key"},
    {AT(text.max_bad_lines), OPTION_MAX_BAD_LINES},

    {AT(out), .group = "Token files", .name = "out", .argument = "FOLDER", .not_in_file = true,
     .help = "folder for the token files; it is made if it does not exist. An interrupted run goes on in it"},
    {AT(format), .name = "format", .choices = CHOICES_TEXT(SHARD_FORMAT_LIST), .default_text = "tally",
     .help = "tally (with the tokenizer's fingerprint, document offsets and checksums) or llm.c (.bin, version 1 for "
             "vocabularies up to 65536 tokens, else version 7)"},
    {AT(shard_tokens), .name = "shard-tokens", .argument = "N", .default_text = "100M", .min = 1, .max = 1e15,
     .help = "a token file ends with the document that brings it to N tokens"},

    {AT(threads), .group = "Machine", .name = "threads", .argument = "N", .default_text = "0", .min = 0, .max = 1024,
     .help = "threads that encode; 0: one for each CPU that this process's affinity and its cgroup's quota allow"},

    {AT(json), .group = "Output", OPTION_JSON},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally tokenize PATH... --out FOLDER [options]",
    .about = "Turns text into token files, which train and eval read as --data FOLDER without keeping them in\n"
             "memory. PATH is a file, a folder of files, or - for standard input. A file holds plain text, or JSON\n"
             "objects (.jsonl, .ndjson, .json) with one document each; it may be compressed (.gz, .zst). If it is\n"
             "interrupted, the same command goes on, and ends with the same files.\n"
             "  tally tokenize corpus/ --tokenizer gpt2/tokenizer.json --out tokens\n"
             "  zcat part-*.gz | tally tokenize - --out tokens\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

static int usable_threads(void) {
    cpu_set_t set;
    int allowed = host_whole_cpus(host_cpu_quota().cpus);
    int usable = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return allowed < usable ? allowed : usable;
}

static status fill_json(json_t *o, const values *v, const tokenize_result *r) {
    TRY(json_add_string(o, "out", v->out));
    TRY(json_add_i64(o, "shards", r->shards));
    TRY(json_add_i64(o, "documents", r->documents));
    TRY(json_add_i64(o, "text_bytes", r->bytes));
    TRY(json_add_i64(o, "tokens", r->tokens));
    TRY(json_add_i64(o, "bad_lines", r->bad_lines));
    return json_add_number_or_null(o, "seconds", r->seconds);
}

static status print_result(const values *v, const tokenize_result *r) {
    if (v->json) {
        json_t *o = json_object();
        return command_print_json(o, fill_json(o, v, r));
    }
    printf("%s: %ld token file%s, documents: %ld, tokens: %ld, text: %s (%.3f bytes a token)\n", v->out, r->shards,
           r->shards == 1 ? "" : "s", r->documents, r->tokens, text_bytes((double)r->bytes).text,
           r->tokens ? (double)r->bytes / (double)r->tokens : 0);
    if (r->was_complete) log_line("tokenize: %s was complete: nothing was left to do", v->out);
    else
        log_line("tokenize: %.1f s, %.1f MB/s, %s tokens/s, %ld thread%s", r->seconds,
                 (double)r->own_bytes / 1e6 / r->seconds, text_count((double)r->own_tokens / r->seconds).text,
                 v->threads, v->threads == 1 ? "" : "s");
    return STATUS_OK;
}

static status tokenize(const options *o, values *v) {
    tokenizer *t;
    tokenize_result r;
    TRY(command_words(o, 1, 1 << 30, "text: files, folders, or - for standard input"));
    if (!v->out) FAIL(ARG, "--out: missing; expected a folder for the token files");
    if (v->template && options_given(o, "text-key")) FAIL(ARG, "--template and --text-key: expected only one of them");
    if (!v->threads) v->threads = usable_threads();
    TRY(tokenizer_open(&t, v->tokenizer));
    tokenize_options to = {.from = shared_options_text(&v->text, (const char *const *)o->words.list, o->words.count),
                           .t = t,
                           .tokenizer_path = v->tokenizer,
                           .folder = v->out,
                           .format = (shard_format)v->format,
                           .shard_tokens = v->shard_tokens,
                           .threads = (int)v->threads};
    to.from.template = v->template;
    to.from.input = true;
    status_code st = tokenize_run(&r, &to);
    if (!st) st = print_result(v, &r);
    tokenizer_close(t);
    return st;
}

status command_tokenize(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = tokenize(&o, &v);
    options_free(&o);
    return st;
}
