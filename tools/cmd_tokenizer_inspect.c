#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/device.h"
#include "runtime/printable.h"
#include "runtime/text.h"
#include "tools/cmd_tokenizer.h"
#include "tools/shared_options.h"
#include "train/data/documents.h"
#include "train/data/tokenizer.h"

typedef struct {
    char *config, *tokenizer;
    string_list data;
    text_options text;
    i64 threads;
    bool json, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(tokenizer), .group = "Tokenizer", OPTION_TOKENIZER_FILE},
    {AT(data), .group = "Text", OPTION_DATA("text to encode in memory, for the number of tokens and the speed")},
    {AT(text.key), OPTION_TEXT_KEY},
    {AT(text.max_bad_lines), OPTION_MAX_BAD_LINES},
    {AT(threads), .group = "Machine", OPTION_THREADS},
    {AT(json), .group = "Output", OPTION_JSON},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally tokenizer inspect --tokenizer PATH [--data PATH...] [options]",
    .about = "Describes a tokenizer: its size, its fingerprint, the tokens at the ends of a text. With --data also how "
             "many\n"
             "tokens the text has, and how fast it is encoded.\n"
             "  tally tokenizer inspect --tokenizer qwen2.5/ --data book.txt\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

/* ---- text in memory ---- */

typedef struct {
    tokenizer_text text; /* of all documents */
    size_t *ends;
    i64 count, room;
} documents;

static status_code take_text(void *context, const char *text, size_t bytes) {
    documents *d = context;
    return tokenizer_text_add(&d->text, text, bytes);
}

static status_code end_text(void *context) {
    documents *d = context;
    if (d->count == d->room) {
        i64 room = d->room ? 2 * d->room : 1024;
        size_t *larger = realloc(d->ends, (size_t)room * sizeof *larger);
        if (!larger) FAIL(MEM, "no memory for %ld documents", room);
        d->ends = larger;
        d->room = room;
    }
    d->ends[d->count++] = d->text.bytes;
    return STATUS_OK;
}

static status read_documents(documents *d, const values *v) {
    document_summary read;
    text_source from = shared_options_text(&v->text, (const char *const *)v->data.list, v->data.count);
    TRY(documents_read(&read, &from, (document_sink){.context = d, .text = take_text, .end = end_text}));
    documents_log(&read);
    documents_free(&read);
    return STATUS_OK;
}

typedef struct {
    i64 threads, tokens;
    double seconds;
} speed;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Documents are dealt to the threads one by one. Each has an encoder, opened before the time is taken. */
static status encode_all(speed *s, const documents *d, tokenizer_encoder **encoders) {
    status_code failed = STATUS_OK;
    char message[1024] = "";
    i64 tokens = 0;
    double start = now();
#pragma omp parallel for num_threads((int)s->threads) schedule(dynamic) reduction(+ : tokens)
    for (i64 i = 0; i < d->count; i++) {
        size_t from = i ? d->ends[i - 1] : 0;
        token_list ids = {0};
        status_code st =
            tokenizer_encode(encoders[omp_get_thread_num()], &ids, d->text.text + from, d->ends[i] - from, true);
        tokens += ids.count;
        token_list_free(&ids);
        if (st == STATUS_OK) continue;
#pragma omp critical
        if (!failed) failed = st, snprintf(message, sizeof message, "document %ld: %s", i + 1, status_message());
        tokenizer_encode_restart(encoders[omp_get_thread_num()]);
    }
    s->seconds = now() - start;
    s->tokens = tokens;
    if (failed == STATUS_DATA) FAIL(DATA, "%s", message);
    if (failed) FAIL(MEM, "%s", message);
    return STATUS_OK;
}

static status measure(speed *s, const tokenizer *t, const documents *d, i64 threads) {
    status_code st = STATUS_OK;
    s->threads = threads;
    tokenizer_encoder **encoders = calloc((size_t)threads, sizeof *encoders);
    if (!encoders) FAIL(MEM, "no memory for %ld encoders", threads);
    for (i64 i = 0; i < threads; i++) TRY_DONE(tokenizer_encoder_open(&encoders[i], t, true));
    TRY_DONE(encode_all(s, d, encoders));
done:
    for (i64 i = 0; i < threads; i++) tokenizer_encoder_close(encoders[i]);
    free(encoders);
    return st;
}

/* ---- printing ---- */

static void print_token(const tokenizer *t, const char *what, int32_t id) {
    const char *name = tokenizer_name(t, id);
    char *shown = name ? malloc(PRINTABLE_BYTES * strlen(name) + 1) : NULL;
    if (shown) printable(shown, name, strlen(name));
    if (id < 0) printf("%-14s none\n", what);
    else printf("%-14s %d %s\n", what, id, shown ? shown : "");
    free(shown);
}

static i64 count_tokens(const tokenizer *t, bool special) {
    i64 count = 0;
    for (i64 id = 0; id < tokenizer_size(t); id++)
        count += tokenizer_name(t, (int32_t)id) && (!special || tokenizer_is_special(t, (int32_t)id));
    return count;
}

static status fill_json(json_t *o, const tokenizer *t, const documents *d, const speed *s) {
    TRY(json_add_string(o, "fingerprint", tokenizer_fingerprint(t)));
    TRY(json_add_i64(o, "size", tokenizer_size(t)));
    TRY(json_add_i64(o, "tokens", count_tokens(t, false)));
    TRY(json_add_i64(o, "special_tokens", count_tokens(t, true)));
    TRY(json_add_i64(o, "begin_of_text", tokenizer_begin_of_text(t)));
    TRY(json_add_i64(o, "after_text", tokenizer_after_text(t)));
    TRY(json_add_i64(o, "end_of_text", tokenizer_end_of_text(t)));
    if (!d->count) return STATUS_OK;
    TRY(json_add_i64(o, "documents", d->count));
    TRY(json_add_i64(o, "text_bytes", (i64)d->text.bytes));
    TRY(json_add_i64(o, "text_tokens", s->tokens));
    TRY(json_add_i64(o, "threads", s->threads));
    return json_add_double(o, "seconds", s->seconds);
}

static status print_result(const values *v, const tokenizer *t, const documents *d, const speed *s) {
    if (v->json) {
        json_t *o = json_object();
        return command_print_json(o, fill_json(o, t, d, s));
    }
    printf("%-14s %s\n", "fingerprint", tokenizer_fingerprint(t));
    printf("%-14s %ld, highest id %ld, special: %ld\n", "tokens", count_tokens(t, false), tokenizer_size(t) - 1,
           count_tokens(t, true));
    print_token(t, "begin of text", tokenizer_begin_of_text(t));
    print_token(t, "after a text", tokenizer_after_text(t));
    print_token(t, "end of text", tokenizer_end_of_text(t));
    if (!d->count) return STATUS_OK;
    printf("%-14s %s in %ld document%s, %ld tokens: %.3f bytes a token\n", "text",
           text_bytes((double)d->text.bytes).text, d->count, d->count == 1 ? "" : "s", s->tokens,
           s->tokens ? (double)d->text.bytes / (double)s->tokens : 0);
    printf("%-14s %.1f MB/s, %s tokens/s, %ld thread%s\n", "speed", (double)d->text.bytes / 1e6 / s->seconds,
           text_count((double)s->tokens / s->seconds).text, s->threads, s->threads == 1 ? "" : "s");
    return STATUS_OK;
}

static status inspect(const options *o, const values *v) {
    tokenizer *t = NULL;
    documents d = {0};
    speed s = {0};
    device *dev;
    status_code st = STATUS_OK;
    TRY(command_words(o, 0, 0, "options"));
    TRY(device_open(&dev, "cpu", (int)v->threads, 0)); /* for the number of threads */
    i64 threads = dev->threads;
    device_close(dev);
    TRY_DONE(tokenizer_open(&t, v->tokenizer));
    if (v->data.count) TRY_DONE(read_documents(&d, v));
    if (d.count) TRY_DONE(measure(&s, t, &d, threads));
    TRY_DONE(print_result(v, t, &d, &s));
done:
    tokenizer_text_free(&d.text);
    free(d.ends);
    tokenizer_close(t);
    return st;
}

status cmd_tokenizer_inspect(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = inspect(&o, &v);
    options_free(&o);
    return st;
}
