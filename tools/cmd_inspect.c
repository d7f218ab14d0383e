#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/log.h"
#include "runtime/path.h"
#include "runtime/printable.h"
#include "runtime/text.h"
#include "tools/command.h"
#include "tools/model_folder.h"
#include "tools/shared_options.h"
#include "train/checkpoint/safetensors.h"
#include "train/data/corpus.h"
#include "train/data/shard.h"
#include "train/trainer.h"

typedef struct {
    char *config;
    text_options text;
    bool models, json, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(models), .group = "Models", .name = "models", .help = "list the presets; `tally plan --model` describes one"},

    {AT(text.key), .group = "Text", OPTION_TEXT_KEY},
    {AT(text.max_bad_lines), OPTION_MAX_BAD_LINES},

    {AT(json), .group = "Output", OPTION_JSON},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally inspect PATH [options] | --models",
    .about = "Describes what is at PATH: a run, a checkpoint (every byte is checked against its manifest), a Hugging\n"
             "Face model, a .safetensors file, token files (every byte is checked), or text. Or lists the presets.\n"
             "  tally inspect runs/book\n"
             "  tally inspect runs/book/checkpoints/step-100 --json\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

/* names and texts of an untrusted file */
static void print_text(const char *text, int width) {
    char *shown = malloc(PRINTABLE_BYTES * strlen(text) + 1);
    if (shown) printable(shown, text, strlen(text));
    printf("%-*s", width, shown ? shown : "?");
    free(shown);
}

/* Everything is gathered as JSON. Without --json it is printed as indented lines. */
static status print_members(json_t *v, int depth, bool bytes);

/* name: NULL for an element of an array. bytes: the number is a count of bytes */
static status print_value(const char *name, json_t *item, int depth, bool bytes) {
    double n = json_number_or_nan(item);
    const char *text = json_string_or_null(item);
    printf("%*s", 2 * depth, "");
    if (name) print_text(name, 26 - 2 * depth), putchar(' ');
    if (json_is_object(item) || json_is_array(item)) {
        putchar('\n');
        return print_members(item, depth + 1, bytes);
    }
    if (text) {
        print_text(text, 0);
    } else if (isnan(n)) {
        fputs(json_is_null(item) ? "not known" : json_is_true(item) ? "yes" : "no", stdout);
    } else {
        char *digits;
        TRY(json_print(&digits, item, JSON_ONE_LINE));
        fputs(digits, stdout);
        free(digits);
        if (n >= 1e4) printf("  (%s)", bytes ? text_bytes(n).text : text_count(n).text);
    }
    putchar('\n');
    return STATUS_OK;
}

static status print_members(json_t *v, int depth, bool bytes) {
    const char *name;
    json_t *item;
    size_t i;
    if (json_is_object(v))
        json_object_foreach(v, name, item) TRY(print_value(name, item, depth, bytes || strstr(name, "bytes")));
    json_array_foreach(v, i, item) TRY(print_value(NULL, item, depth, bytes));
    return STATUS_OK;
}

static status add_model(json_t *o, const char *path) {
    model_config c;
    TRY(model_config_load(&c, path));
    model_config_log(&c, true);
    TRY(json_add_string(o, "model", c.name));
    TRY(json_add_i64(o, "parameters", model_config_parameters(&c)));
    return model_config_add_shape(o, &c);
}

static status add_tensors(json_t *o, const char *path) {
    safetensors f;
    TRY(safetensors_open(&f, path));
    status_code st = STATUS_OK;
    i64 elements = 0;
    json_t *list = json_add_object(o, "tensors");
    if (!list) FAIL_DONE(MEM, "%s: no memory", path);
    for (int i = 0; i < f.count; i++) {
        char text[128];
        int used = snprintf(text, sizeof text, "%s [", dtype_name(f.list[i].type));
        i64 n = 1;
        for (int d = 0; d < f.list[i].dims; d++) {
            used += snprintf(text + used, sizeof text - (size_t)used, "%s%ld", d ? "," : "", f.list[i].shape[d]);
            n *= f.list[i].shape[d];
        }
        snprintf(text + used, sizeof text - (size_t)used, "]");
        elements += n;
        TRY_DONE(json_add_string(list, f.list[i].name, text));
    }
    TRY_DONE(json_add_i64(o, "elements", elements));
done:
    safetensors_close(&f);
    return st;
}

static status add_checkpoint(json_t *o, const char *folder) {
    progress p;
    model_config c;
    TRY(checkpoint_verify(folder));
    TRY(checkpoint_progress(folder, &p));
    TRY(model_config_load(&c, folder));
    TRY(json_add_string(o, "checkpoint", folder));
    TRY(json_add_bool(o, "whole", true));
    if (p.finite != PROGRESS_FINITE_UNKNOWN) TRY(json_add_bool(o, "finite", p.finite));
    TRY(json_add_u64(o, "step", p.step));
    TRY(json_add_u64(o, "tokens", p.tokens));
    TRY(json_add_u64(o, "skipped_steps", p.skipped));
    TRY(json_add_u64(o, "ranks", p.ranks));
    TRY(json_add_string(o, "precision", p.precision));
    TRY(json_add_i64(o, "parameters", model_config_parameters(&c)));
    return model_config_add_shape(o, &c);
}

static status add_run(json_t *o, const char *run) {
    int found;
    path_text newest;
    TRY(json_add_string(o, "run", run));
    TRY(model_folder_newest(run, &found, &newest));
    if (found) {
        json_t *c = json_add_object(o, "newest_checkpoint");
        if (!c) FAIL(MEM, "%s: no memory", run);
        TRY(add_checkpoint(c, newest.text));
    }
    if (!model_folder_holds(run, "ledger.json")) return STATUS_OK;
    json_t *ledger_json;
    status_code st = json_read_file(&ledger_json, path_join(run, "ledger.json").text);
    if (st != STATUS_DATA) TRY(st);
    if (st) {
        log_line("%s", status_message());
        return json_add_number_or_null(o, "ledger", NAN);
    }
    if (json_object_set_new(o, "ledger", ledger_json)) FAIL(MEM, "%s: no memory", run);
    return STATUS_OK;
}

static status add_kinds(json_t *o, const corpus *c) {
    json_t *kinds = json_add_object(o, "kinds");
    if (!kinds) FAIL(MEM, "no memory for the result");
    for (int i = 0; i < TEXT_KINDS; i++) {
        const text_count_of_kind *k = &c->text.kinds[i];
        if (!k->files) continue;
        json_t *kind = json_add_object(kinds, documents_kind_name((text_kind)i));
        if (!kind) FAIL(MEM, "no memory for the result");
        TRY(json_add_i64(kind, "files", k->files));
        TRY(json_add_i64(kind, "documents", k->documents));
        TRY(json_add_i64(kind, "tokens", k->tokens));
    }
    return STATUS_OK;
}

static status add_text(json_t *o, const char *path, const text_options *text) {
    corpus c;
    text_source from = shared_options_text(text, &path, 1);
    TRY(corpus_load(&c, &from, 0, 0));
    status_code st = STATUS_OK;
    documents_log(&c.text);
    TRY_DONE(json_add_string(o, "data", path));
    TRY_DONE(json_add_i64(o, "documents", c.documents));
    TRY_DONE(json_add_i64(o, "text_bytes", c.bytes));
    TRY_DONE(json_add_i64(o, "tokens", c.count));
    TRY_DONE(json_add_u64(o, "crc32", c.crc32));
    TRY_DONE(json_add_i64(o, "bad_lines", c.text.bad_lines));
    TRY_DONE(add_kinds(o, &c));
done:
    corpus_free(&c);
    return st;
}

/* ---- token files ---- */

static status add_shard(json_t *o, const char *path) {
    shard s;
    TRY(shard_open(&s, path));
    status_code st = shard_check(&s);
    if (!st) st = json_add_string(o, "format", s.kind.format == SHARD_LLMC ? "llm.c" : "tally");
    if (!st) st = json_add_i64(o, "tokens", s.count);
    if (!st) st = json_add_i64(o, "bytes_a_token", s.token_bytes);
    if (!st && s.kind.format == SHARD_TALLY) {
        TRY_DONE(json_add_i64(o, "documents", s.documents));
        TRY_DONE(json_add_i64(o, "text_bytes", s.bytes));
        TRY_DONE(json_add_string(o, "tokenizer", s.kind.fingerprint));
        TRY_DONE(json_add_i64(o, "vocabulary", s.kind.vocabulary));
        TRY_DONE(json_add_i64(o, "end_of_text", s.kind.end_of_text));
        TRY_DONE(json_add_bool(o, "whole", true));
    }
done:
    shard_close(&s);
    return st;
}

/* a folder that `tally tokenize` has written: its tokenize.json, and every token file */
static status add_tokens(json_t *o, const char *folder) {
    json_t *about, *files = json_add_object(o, "token_files");
    if (!files) FAIL(MEM, "%s: no memory", folder);
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0) FAIL(IO, "%s: %s", folder, strerror(errno));
    status_code st = STATUS_OK;
    for (int i = 0; i < count; i++) {
        path_text path = path_join(folder, entries[i]->d_name);
        if (st || path_ends_with(path.text, ".tmp") || !shard_is(path.text)) continue;
        json_t *file = json_add_object(files, entries[i]->d_name);
        st = file ? add_shard(file, path.text) : ERROR(MEM, "%s: no memory", folder);
    }
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    TRY(st);
    TRY(json_read_file(&about, path_join(folder, "tokenize.json").text));
    if (json_object_set_new(o, "tokenize", about)) FAIL(MEM, "%s: no memory", folder);
    return STATUS_OK;
}

static status add_path(json_t *o, const char *path, const values *v) {
    if (path_ends_with(path, ".safetensors")) return add_tensors(o, path);
    if (model_folder_holds(path, "MANIFEST")) return add_checkpoint(o, path);
    if (model_folder_holds(path, "checkpoints") || model_folder_holds(path, "metrics.jsonl")) return add_run(o, path);
    if (model_folder_holds(path, "tokenize.json")) return add_tokens(o, path);
    if (shard_is(path)) {
        TRY(json_add_string(o, "token_file", path));
        return add_shard(o, path);
    }
    if (model_folder_holds(path, "model.safetensors") || model_folder_holds(path, "model.safetensors.index.json"))
        return add_model(o, path);
    return add_text(o, path, &v->text);
}

static status inspect(const options *o, const values *v) {
    if (v->models) {
        model_config_print_presets(stdout);
        return STATUS_OK;
    }
    TRY(command_words(o, 1, 1, "path, or --models"));
    json_t *result = json_object();
    status_code st = add_path(result, o->words.list[0], v);
    if (v->json) return command_print_json(result, st);
    if (!st) st = print_members(result, 0, false);
    json_decref(result);
    return st;
}

status command_inspect(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = inspect(&o, &v);
    options_free(&o);
    return st;
}
