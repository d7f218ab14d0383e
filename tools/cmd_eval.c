#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/command.h"
#include "tools/model_folder.h"
#include "tools/shared_options.h"
#include "train/checkpoint/weights.h"
#include "train/step.h"

typedef struct {
    char *config, *device;
    string_list data;
    text_options text;
    i64 batch, batches, seq_len, threads;
    int precision;
    bool json, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(data), .group = "Evaluation", OPTION_DATA("text to evaluate on, all of it")},
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
    .about =
        "Computes the loss of a trained model on text: nats and bits per token, and perplexity. The model must be\n"
        "byte-level: its tokens are the bytes and an end-of-text.\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

static status fill_json(json_t *o, const char *folder, i64 T, double nats, i64 tokens) {
    TRY(json_add_string(o, "model", folder));
    TRY(json_add_number_or_null(o, "loss", nats));
    TRY(json_add_number_or_null(o, "bits_per_token", nats / M_LN2));
    TRY(json_add_number_or_null(o, "perplexity", exp(nats)));
    TRY(json_add_i64(o, "tokens", tokens));
    return json_add_i64(o, "seq_len", T);
}

static status print_result(const values *v, const char *folder, i64 T, double nats, i64 tokens) {
    if (v->json) {
        json_t *o = json_object();
        return command_print_json(o, fill_json(o, folder, T, nats, tokens));
    }
    printf("%s: %.6f nats per token (%.4f bits, perplexity %.4f) over %ld tokens in sequences of %ld\n", folder, nats,
           nats / M_LN2, exp(nats), tokens, T);
    return STATUS_OK;
}

/* For a checkpoint, the length it was trained with, so that the loss is comparable with that of its run. */
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

static status eval(options *o, const values *v) {
    model_folder f;
    comm *world = NULL;
    device *dev = NULL;
    corpus data = {0};
    model m = {0};
    double nats;
    status_code st = STATUS_OK;
    TRY(options_take_word(o, "data"));
    TRY(command_words(o, 1, 1, "run, checkpoint or model folder"));
    if (!v->data.count) FAIL(ARG, "--data: missing; expected files or folders of text");
    TRY(model_folder_find(&f, o->words.list[0]));
    if (f.config.V != BYTE_VOCABULARY)
        FAIL(DATA, "%s: the vocabulary has %ld tokens; expected %d: the bytes and an end-of-text", f.folder.text,
             f.config.V, BYTE_VOCABULARY);
    TRY_DONE(device_open(&dev, v->device, (int)v->threads, 0));
    text_source from = shared_options_text(&v->text, (const char *const *)v->data.list, v->data.count);
    TRY_DONE(corpus_load(&data, &from, 0, 0));
    model_shape s = {.B = v->batch, .T = v->seq_len};
    if (!s.T) TRY_DONE(default_seq_len(&s.T, &f));
    TRY_DONE(comm_open_self(&world));
    parameters_options precision = {.t = (dtype)v->precision, .shard = {.world = world}};
    TRY_DONE(model_init(&m, dev, &f.config, s, precision, NULL));
    TRY_DONE(weights_read(&m.parameters, &f.config, f.folder.text));
    model_config_log(&f.config, false);
    documents_log(&data.text);
    if (data.count < 2) FAIL_DONE(DATA, "--data: found %ld tokens, expected at least 2", data.count);
    data.train_count = 0; /* all of it is held out */
    source text = source_of_corpus(&data, "--data");
    TRY_DONE(step_evaluate(&m, &text, v->batches, &nats));
    if (!isfinite(nats))
        FAIL_DONE(NUMERIC, "%s: the loss is %s, expected a finite one; the weights are broken", f.folder.text,
                  isnan(nats) ? "NaN" : "infinite");
    double most = v->batches ? (double)v->batches * (double)(v->batch * s.T) : (double)data.count;
    TRY_DONE(print_result(v, f.folder.text, s.T, nats, most < (double)(data.count - 1) ? (i64)most : data.count - 1));
done:
    model_free(&m);
    corpus_free(&data);
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
