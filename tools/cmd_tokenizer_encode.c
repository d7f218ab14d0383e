#include <stdio.h>
#include <stdlib.h>

#include "runtime/log.h"
#include "tools/cmd_tokenizer.h"
#include "tools/shared_options.h"
#include "train/data/documents.h"
#include "train/data/tokenizer.h"

typedef struct {
    char *config, *tokenizer;
    text_options text;
    bool special, ends, pieces, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(tokenizer), .group = "Encoding", OPTION_TOKENIZER_FILE},
    {AT(special), .name = "with-special",
     .help = "find special tokens, such as <|endoftext|>, in the text; without it they are text like any other"},
    {AT(ends), .name = "ends", .help = "add the tokens that the tokenizer puts before and after a text"},
    {AT(pieces), .name = "pieces", .help = "print each text as a JSON array of tokens instead of ids"},
    {AT(text.key), OPTION_TEXT_KEY},
    {AT(text.max_bad_lines), OPTION_MAX_BAD_LINES},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally tokenizer encode PATH... [options]",
    .about =
        "Prints the token ids of text: a line for each document. PATH is a file, a folder of files, or - for standard\n"
        "input; a file holds plain text, or JSON objects (.jsonl) with one document each.\n"
        "  echo 'Hello, world' | tally tokenizer encode - --tokenizer gpt2/tokenizer.json\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

typedef struct {
    const values *v;
    tokenizer *t;
    tokenizer_encoder *e;
    token_list ids;
    bool begun; /* the line of the document */
    document_summary read;
} printing;

static status print_piece(const printing *p, int32_t id) {
    char *text;
    json_t *name = json_string_nocheck(tokenizer_name(p->t, id));
    status_code st = name ? json_print(&text, name, JSON_ONE_LINE) : ERROR(MEM, "no memory to print a token");
    json_decref(name);
    TRY(st);
    printf("%s%s", p->begun ? "," : "[", text);
    free(text);
    return STATUS_OK;
}

static status print_ids(printing *p) {
    for (i64 i = 0; i < p->ids.count; i++) {
        if (p->v->pieces) TRY(print_piece(p, p->ids.ids[i]));
        else printf(p->begun ? " %d" : "%d", p->ids.ids[i]);
        p->begun = true;
    }
    p->ids.count = 0;
    return STATUS_OK;
}

static status encode_text(printing *p, const char *text, size_t bytes, bool last) {
    status_code st = tokenizer_encode(p->e, &p->ids, text, bytes, last);
    if (st == STATUS_DATA) FAIL(DATA, "%s: %s", p->read.path, status_message());
    return st;
}

static status_code take_text(void *context, const char *text, size_t bytes) {
    printing *p = context;
    if (!p->begun && p->v->ends && tokenizer_begin_of_text(p->t) >= 0)
        TRY(token_list_add(&p->ids, tokenizer_begin_of_text(p->t)));
    TRY(encode_text(p, text, bytes, false));
    return print_ids(p);
}

static status_code end_text(void *context) {
    printing *p = context;
    TRY(encode_text(p, "", 0, true));
    if (p->v->ends && tokenizer_after_text(p->t) >= 0) TRY(token_list_add(&p->ids, tokenizer_after_text(p->t)));
    TRY(print_ids(p));
    puts(!p->v->pieces ? "" : p->begun ? "]" : "[]");
    p->begun = false;
    return command_flush();
}

static status encode(const options *o, const values *v) {
    printing p = {.v = v};
    status_code st = STATUS_OK;
    TRY(command_words(o, 1, 1 << 30, "text: files, folders, or - for standard input"));
    text_source from = shared_options_text(&v->text, (const char *const *)o->words.list, o->words.count);
    from.input = true;
    TRY_DONE(tokenizer_open(&p.t, v->tokenizer));
    TRY_DONE(tokenizer_encoder_open(&p.e, p.t, v->special));
    TRY_DONE(documents_read(&p.read, &from, (document_sink){.context = &p, .text = take_text, .end = end_text}));
done:
    documents_free(&p.read);
    token_list_free(&p.ids);
    tokenizer_encoder_close(p.e);
    tokenizer_close(p.t);
    return st;
}

status cmd_tokenizer_encode(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = encode(&o, &v);
    options_free(&o);
    return st;
}
