#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/command.h"
#include "tools/model_folder.h"
#include "tools/shared_options.h"
#include "train/checkpoint/weights.h"
#include "train/data/dataset.h"
#include "train/step.h"

typedef struct {
    char *config, *tokenizer, *device;
    string_list data;
    text_options text;
    i64 batch, batches, seq_len, threads;
    int precision;
    bool mask_documents, json, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(data), .group = "Evaluation", OPTION_DATA("text or token files to evaluate on, all of it")},
    {AT(tokenizer), OPTION_TOKENIZER},
    {AT(text.key), OPTION_TEXT_KEY},
    {AT(text.max_bad_lines), OPTION_MAX_BAD_LINES},
    {AT(seq_len), .name = "seq-len", .argument = "T", .default_text = "0", .min = 0, .max = 1 << 20,
     .help =
         "tokens in a sequence; 0: the length that a checkpoint was trained with, or, for another model, its context "
         "but at most 256"},
    {AT(batch), .name = "batch", .argument = "B", .default_text = "8", .min = 1, .max = 1 << 20,
     .help = "sequences in a batch"},
    {AT(batches), .name = "batches", .argument = "N", .default_text = "0", .min = 0, .max = 1e12,
     .help = "evaluate on the first N batches of the text; 0: on all of it"},
    {AT(mask_documents), .name = "mask-documents",
     .help = "keep attention inside a document and begin positions anew with each, as train --mask-documents does"},

    {AT(precision), .group = "Machine", OPTION_PRECISION},
    {AT(device), OPTION_DEVICE},
    {AT(threads), OPTION_THREADS},

    {AT(json), .group = "Output", OPTION_JSON},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally eval RUN|CHECKPOINT|FOLDER --data PATH... [options]\n"
             "       tally eval --data PATH... RUN|CHECKPOINT|FOLDER [options]",
    .about = "Computes the loss of a trained model on text or token files: nats and bits per token, perplexity, and "
             "bits per\n"
             "byte of text, which can be compared between models with different tokenizers.\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

/* What was evaluated, and how well. */
typedef struct {
    const char *folder;
    i64 T, tokens; /* of a sequence; predicted */
    i64 bytes;     /* of the text that these tokens stand for, or 0 if unknown */
    double nats;   /* per token */
} result;

static double bits_per_byte(const result *r) {
    return r->bytes ? r->nats * (double)r->tokens / M_LN2 / (double)r->bytes : NAN;
}

static status fill_json(json_t *o, const result *r) {
    TRY(json_add_string(o, "model", r->folder));
    TRY(json_add_number_or_null(o, "loss", r->nats));
    TRY(json_add_number_or_null(o, "bits_per_token", r->nats / M_LN2));
    TRY(json_add_number_or_null(o, "bits_per_byte", bits_per_byte(r)));
    TRY(json_add_number_or_null(o, "perplexity", exp(r->nats)));
    TRY(json_add_i64(o, "tokens", r->tokens));
    TRY(json_add_number_or_null(o, "bytes", r->bytes ? (double)r->bytes : NAN));
    return json_add_i64(o, "seq_len", r->T);
}

static status print_result(const values *v, const result *r) {
    if (v->json) {
        json_t *o = json_object();
        return command_print_json(o, fill_json(o, r));
    }
    printf("%s: %.6f nats per token (%.4f bits, perplexity %.4f)", r->folder, r->nats, r->nats / M_LN2, exp(r->nats));
    if (r->bytes) printf(", %.4f bits per byte", bits_per_byte(r));
    printf(" over %ld tokens", r->tokens);
    if (r->bytes) printf(" of %ld bytes", r->bytes);
    printf(" in sequences of %ld\n", r->T);
    return STATUS_OK;
}

/* The bytes of the text that tokens 1 .. last of s stand for. Special tokens, such as end-of-text, stand for none. */
static status count_bytes(i64 *bytes, const tokenizer *t, source *s, i64 last) {
    enum { PIECE = 1 << 16 };
    int32_t end = tokenizer_end_of_text(t), *ids = malloc(PIECE * sizeof *ids);
    tokenizer_decoder *d = NULL;
    tokenizer_text text = {0};
    status_code st = STATUS_OK;
    *bytes = 0;
    if (!ids) FAIL_DONE(MEM, "no memory for %d tokens", PIECE);
    TRY_DONE(tokenizer_decoder_open(&d, t, false));
    for (i64 at = 1; at <= last; at += PIECE) {
        i64 n = last + 1 - at < PIECE ? last + 1 - at : PIECE, begin = 0;
        TRY_DONE(source_read(s, at, n, ids));
        for (i64 i = 0; i < n; i++) { /* each document is a text of its own */
            if (ids[i] != end && i + 1 < n) continue;
            TRY_DONE(tokenizer_decode(d, &text, ids + begin, i + 1 - begin, ids[i] == end || at + i == last));
            *bytes += (i64)text.bytes;
            text.bytes = 0;
            begin = i + 1;
        }
    }
done:
    tokenizer_decoder_close(d);
    tokenizer_text_free(&text);
    free(ids);
    return st;
}

/* For a checkpoint, the length it was trained with: another one would give another loss than that of its run. */
static status default_seq_len(i64 *T, const model_folder *f) {
    progress p;
    *T = 256;
    if (f->checkpoint) {
        TRY(checkpoint_progress(f->folder.text, &p));
        *T = (i64)p.seq_len;
    }
    if (*T > f->config.context) *T = f->config.context;
    return STATUS_OK;
}

/* Token files need no tokenizer: only bits per byte do. *t: NULL if the model has none. */
static status open_data(dataset *d, tokenizer **t, const model_folder *f, const values *v, int threads) {
    text_source from = shared_options_text(&v->text, (const char *const *)v->data.list, v->data.count);
    char message[1024] = "";
    status_code st = model_folder_tokenizer(t, f, v->tokenizer);
    if (st && (v->tokenizer || st != STATUS_DATA)) TRY(st);
    if (st) snprintf(message, sizeof message, "%s", status_message());
    TRY(dataset_open(d, &(dataset_options){.from = from, .tokenizer = *t, .threads = threads}));
    if (d->count > 1) FAIL(ARG, "--data: %s has a weight, expected paths without weights", d->sources[0].name);
    if (*message && strcmp(d->fingerprint, "bytes") == 0) FAIL(DATA, "%s", message);
    if (d->tokens < 2) FAIL(DATA, "--data: found %ld tokens, expected at least 2", d->tokens);
    d->sources[0].train_count = d->train_tokens = 0; /* all of it is held out */
    dataset_allow(d, f->config.V);
    return STATUS_OK;
}

static status eval(options *o, const values *v) {
    model_folder f;
    comm *world = NULL;
    device *dev = NULL;
    dataset data = {0};
    tokenizer *t = NULL;
    model m = {0};
    status_code st = STATUS_OK;
    TRY(options_take_word(o, "data"));
    TRY(command_words(o, 1, 1, "run, checkpoint or model folder"));
    if (!v->data.count) FAIL(ARG, "--data: missing; expected text or token files");
    TRY(model_folder_find(&f, o->words.list[0]));
    result r = {.folder = f.folder.text, .T = v->seq_len};
    TRY_DONE(device_open(&dev, v->device, (int)v->threads, 0));
    TRY_DONE(open_data(&data, &t, &f, v, dev->threads));
    if (!r.T) TRY_DONE(default_seq_len(&r.T, &f));
    TRY_DONE(comm_open_self(&world));
    parameters_options precision = {.t = (dtype)v->precision, .shard = {.world = world}};
    const model_shape shape = {.B = v->batch, .T = r.T, .documents = v->mask_documents};
    TRY_DONE(model_init(&m, dev, &f.config, shape, precision, NULL));
    TRY_DONE(weights_read(&m.parameters, &f.config, f.folder.text));
    model_config_log(&f.config, false);
    dataset_log(&data);
    TRY_DONE(step_evaluate(&m, data.sources, v->batches, &r.nats));
    if (!isfinite(r.nats))
        FAIL_DONE(NUMERIC, "%s: the loss is %s, expected a finite one; the weights are broken", f.folder.text,
                  isnan(r.nats) ? "NaN" : "infinite");
    r.tokens = data.tokens - 1;
    double most = (double)v->batches * (double)(v->batch * r.T);
    if (v->batches && most < (double)r.tokens) r.tokens = (i64)most;
    if (t) TRY_DONE(count_bytes(&r.bytes, t, data.sources, r.tokens));
    TRY_DONE(print_result(v, &r));
done:
    model_free(&m);
    dataset_close(&data);
    tokenizer_close(t);
    comm_close(world);
    device_close(dev);
    return st;
}

status command_eval(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = eval(&o, &v);
    options_free(&o);
    return st;
}
