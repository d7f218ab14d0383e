#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "runtime/path.h"
#include "runtime/printable.h"
#include "runtime/text.h"
#include "train/checkpoint/model_files.h"

typedef struct {
    double tokens, flops, kwh, usd, wall_s;
} cost;

static cost cost_of(const progress *p) {
    spent_totals t = spent_total(&p->spent);
    return (cost){.tokens = (double)p->tokens,
                  .flops = p->model_flops,
                  .kwh = t.joules / 3.6e6,
                  .usd = t.usd,
                  .wall_s = (double)t.ns * 1e-9};
}

/* A number in YAML, whose readers take 1e+15 without a point for a text. */
static void metadata_number(FILE *out, const char *key, double v) {
    if (isfinite(v)) fprintf(out, "  %s: %.6e\n", key, v);
    else fprintf(out, "  %s: null\n", key);
}

static void write_metadata(FILE *out, const progress *p) {
    const cost k = cost_of(p);
    fputs("---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- tally\ntally:\n", out);
    fprintf(out, "  step: %lu\n  tokens: %lu\n", p->step, p->tokens);
    metadata_number(out, "model_flops", k.flops);
    metadata_number(out, "energy_kwh", k.kwh);
    if (*p->energy_source) fprintf(out, "  energy_source: \"%s\"\n", p->energy_source);
    metadata_number(out, "cost_usd", k.usd);
    metadata_number(out, "wall_seconds", k.wall_s);
    metadata_number(out, "loss", p->loss);
    metadata_number(out, "held_out_loss", p->val_loss);
    fputs("---\n", out);
}

static void row(FILE *out, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void row(FILE *out, const char *name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(out, "| %s | ", name);
    vfprintf(out, format, arguments);
    fputs(" |\n", out);
    va_end(arguments);
}

static void write_model(FILE *out, const model_config *c) {
    static const char *const families[] = {[ARCH_GPT2] = "GPT-2",
                                           [ARCH_LLAMA] = "Llama",
                                           [ARCH_QWEN2] = "Qwen2",
                                           [ARCH_QWEN3] = "Qwen3",
                                           [ARCH_MISTRAL] = "Mistral"};
    i64 parameters = model_config_parameters(c);
    fprintf(out,
            "\n# %s, %s parameters\n\nA language model trained with tally. The tables say what it is and what its "
            "training cost.\n\n",
            families[c->arch], text_count((double)parameters).text);
    fputs("| model | |\n| --- | --- |\n", out);
    row(out, "parameters", "%ld", parameters);
    row(out, "layers, channels, feed-forward", "%ld, %ld, %ld", c->L, c->C, c->F);
    row(out, "heads, key/value heads, head size", "%ld, %ld, %ld", c->H, c->K, c->D);
    row(out, "vocabulary", "%ld", c->V);
    row(out, "context", "%ld", c->context);
}

/* The last part of a path, as a cell of a table: the folders before it are nobody's business. */
static path_text cell(const char *path) {
    path_text name = path_last(path), shown;
    if (strlen(name.text) >= 256) name.text[256] = 0;
    printable(shown.text, name.text, strlen(name.text));
    for (char *bar = shown.text; (bar = strchr(bar, '|'));) *bar = '/';
    return shown;
}

static void write_data(FILE *out, const progress *p) {
    if (*p->tokenizer) row(out, "tokenizer", "%s", p->tokenizer);
    for (uint64_t i = 0; i < p->source_count; i++)
        row(out, "data", "%s, %.4g epochs", cell(p->sources[i].data).text, p->sources[i].epochs);
    row(out, "initial weights", "%s", *p->init ? cell(p->init).text : "random");
}

static void write_training(FILE *out, const progress *p) {
    static const char unknown[] = "not known";
    const cost k = cost_of(p);
    fputs("\n| training | |\n| --- | --- |\n", out);
    row(out, "tokens", "%lu in %lu steps of %lu, in sequences of %lu", p->tokens, p->step, p->global_batch, p->seq_len);
    write_data(out, p);
    if (isfinite(k.flops)) row(out, "model FLOPs, forward and backward", "%.4g", k.flops);
    else row(out, "model FLOPs, forward and backward", "%s", unknown);
    if (isfinite(k.kwh))
        row(out, "energy", "%.4g kWh (source: %s)", k.kwh, *p->energy_source ? p->energy_source : unknown);
    else row(out, "energy", "%s", unknown);
    if (isfinite(k.usd)) row(out, "cost", "$%.4g", k.usd);
    else row(out, "cost", "%s", unknown);
    row(out, "wall time", "%s", text_seconds(k.wall_s).text);
    row(out, "machine", "%s, %lu rank%s", *p->device ? p->device : unknown, p->ranks, p->ranks == 1 ? "" : "s");
    row(out, "precision", "%s, moments %s, master weights %s", p->precision, p->moments, p->master);
    if (isfinite(p->loss)) row(out, "loss of the last step", "%.4f", p->loss);
    if (isfinite(p->val_loss)) row(out, "held-out loss", "%.4f", p->val_loss);
}

status model_files_card(char **text, const model_config *c, const progress *p) {
    size_t size;
    FILE *out = open_memstream(text, &size);
    if (!out) FAIL(MEM, "no memory for README.md");
    write_metadata(out, p);
    write_model(out, c);
    write_training(out, p);
    if (fclose(out)) {
        free(*text);
        FAIL(MEM, "no memory for README.md");
    }
    return STATUS_OK;
}
