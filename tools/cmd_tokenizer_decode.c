#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cmd_tokenizer.h"
#include "tools/shared_options.h"
#include "train/data/text_file.h"
#include "train/data/tokenizer.h"

typedef struct {
    char *config, *tokenizer;
    bool special, null, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(tokenizer), .group = "Decoding", OPTION_TOKENIZER_FILE},
    {AT(special), .name = "with-special",
     .help = "print special tokens, such as <|endoftext|>, too; without it they are skipped"},
    {AT(null), .name = "null", .help = "print a NUL byte after the text of each line"},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally tokenizer decode [FILE] [options]",
    .about =
        "Prints the text of token ids, which are decimal numbers with spaces or commas between them, as encode prints\n"
        "them. Each line of FILE, or of standard input, is a text of its own.\n"
        "  echo '15496 11 995' | tally tokenizer decode --tokenizer gpt2/tokenizer.json\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

typedef struct {
    const values *v;
    tokenizer *t;
    tokenizer_decoder *d;
    tokenizer_text out;
    i64 id, line; /* id: the number that has been read so far; -1: none */
    bool any;     /* the line has an id */
} printing;

static status put(printing *p, bool last) {
    int32_t id = (int32_t)p->id;
    if (p->id >= 0) {
        if (!tokenizer_name(p->t, id))
            FAIL(DATA, "line %ld: %ld is no token id, expected 0 to %ld", p->line, p->id, tokenizer_size(p->t) - 1);
        p->any = true;
    }
    TRY(tokenizer_decode(p->d, &p->out, &id, p->id >= 0, last));
    p->id = -1;
    fwrite(p->out.text, 1, p->out.bytes, stdout);
    if (last && p->v->null) putchar(0);
    p->out.bytes = 0;
    return STATUS_OK;
}

static status decode_chunk(printing *p, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9') {
            p->id = (p->id < 0 ? 0 : 10 * p->id) + (c - '0');
            if (p->id > INT32_MAX)
                FAIL(DATA, "line %ld: found a number above %d, expected a token id", p->line, INT32_MAX);
        } else if (c && strchr(" ,\t\r\n[]", c)) {
            if (p->id >= 0 || c == '\n') TRY(put(p, c == '\n'));
            if (c != '\n') continue;
            p->any = false;
            p->line++;
        } else {
            FAIL(DATA, "line %ld: found '%c', expected token ids", p->line, c);
        }
    }
    return STATUS_OK;
}

static status decode_file(printing *p, text_file *f) {
    do {
        TRY(text_file_read(f));
        TRY(decode_chunk(p, f->chunk, f->chunk_bytes));
    } while (f->chunk_bytes);
    if (p->any || p->id >= 0) TRY(put(p, true));
    return command_flush();
}

static status decode(const options *o, const values *v) {
    printing p = {.v = v, .id = -1, .line = 1};
    const char *path = o->words.count ? o->words.list[0] : "-";
    status_code st = STATUS_OK;
    TRY(command_words(o, 0, 1, "file of token ids"));
    text_file *f = calloc(1, sizeof *f);
    if (!f) FAIL(MEM, "no memory to read %s", path);
    TRY_DONE(tokenizer_open(&p.t, v->tokenizer));
    TRY_DONE(tokenizer_decoder_open(&p.d, p.t, v->special));
    TRY_DONE(strcmp(path, "-") == 0 ? text_file_open_input(f, "standard input") : text_file_open(f, path));
    st = decode_file(&p, f);
    text_file_close(f);
done:
    free(f);
    tokenizer_text_free(&p.out);
    tokenizer_decoder_close(p.d);
    tokenizer_close(p.t);
    return st;
}

status cmd_tokenizer_decode(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = decode(&o, &v);
    options_free(&o);
    return st;
}
