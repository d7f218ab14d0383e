#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/log.h"
#include "runtime/text.h"
#include "tools/command.h"
#include "tools/model_folder.h"
#include "tools/shared_options.h"
#include "train/checkpoint/weights.h"

#define EXPORT_DTYPE_LIST(X) X(EXPORT_F32, "f32") X(EXPORT_BF16, "bf16")
enum { EXPORT_DTYPE_LIST(CHOICES_VALUE) }; /* in the order of dtype */

typedef struct {
    char *config;
    int dtype;
    i64 max_shard_size;
    bool help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(dtype), .group = "Weights", .name = "dtype", .choices = CHOICES_TEXT(EXPORT_DTYPE_LIST),
     .help =
         "dtype of the weights; f32 takes the fp32 master weights, if the checkpoint has them; without --dtype, that "
         "of the stored weights"},
    {AT(max_shard_size), .name = "max-shard-size", .argument = "BYTES", .default_text = "5G", .min = 1, .max = 9e18,
     .help =
         "most bytes of weights in a file; a larger model gets several files and an index. A tensor is never split"},
    {AT(config), .group = "Other", OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally export RUN|CHECKPOINT|FOLDER DIR [options]",
    .about =
        "Writes a trained model to the new folder DIR, without the optimizer's state: config.json,\n"
        "generation_config.json, the tokenizer's files, safetensors, and a model card with what the training cost.\n"
        "transformers loads it with from_pretrained(\"DIR\"). It needs memory for all weights.\n"
        "  tally export runs/book book-model --dtype f32\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

/* A model in host memory, weights only. */
typedef struct {
    device *dev;
    comm *world;
    parameters weights;
    arena memory;
} loaded;

static void unload(loaded *l) {
    arena_free(&l->memory);
    parameters_free(&l->weights);
    comm_close(l->world);
    device_close(l->dev);
}

static status load(loaded *l, const model_folder *f, dtype t) {
    const char *folder = f->folder.text;
    TRY(device_open(&l->dev, "cpu", 0, 0));
    TRY(comm_open_self(&l->world));
    TRY(parameters_init(&l->weights, l->dev, &f->config, (parameters_options){.t = t, .shard = {.world = l->world}}));
    parameters_layout(&l->weights, &l->memory);
    TRY(arena_commit(&l->memory, l->dev));
    parameters_layout(&l->weights, &l->memory);
    return f->checkpoint ? checkpoint_load_weights(folder, &l->weights, &f->config)
                         : weights_read(&l->weights, &f->config, folder);
}

static status stored_dtype(dtype *t, const char *folder) {
    tensor_set set;
    TRY(tensor_set_open_model(&set, folder));
    *t = set.count && set.list[0].tensor->type == BF16 ? BF16 : F32;
    tensor_set_close(&set);
    return STATUS_OK;
}

/* The tokenizer is closed again: its files are what an export needs. */
static status read_files(model_files *files, const model_folder *f) {
    tokenizer *t = NULL;
    status_code st = model_files_tokenizer(&t, f->folder.text, f->config.V);
    if (st == STATUS_DATA) log_line("without a tokenizer: %s", status_message());
    else TRY(st);
    st = model_files_read(files, t, f->folder.text);
    tokenizer_close(t);
    return st;
}

static status write_folder(const char *to, const model_folder *f, loaded *l, const values *v) {
    model_files files = {0};
    progress p;
    char *index = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(read_files(&files, f));
    if (f->checkpoint) TRY_DONE(checkpoint_progress(f->folder.text, &p));
    TRY_DONE(weights_export(&l->weights, &f->config, to, v->max_shard_size, &index));
    if (index) TRY_DONE(model_files_put(NULL, to, "model.safetensors.index.json", index));
    TRY_DONE(model_files_write(NULL, to, &files, &f->config, l->weights.o.t, f->checkpoint ? &p : NULL));
    st = durable_sync_folder(to);
done:
    model_files_free(&files);
    return st;
}

/* DIR without the slashes at its end. rmdir fails for a folder that is not empty. */
static status target_folder(path_text *target, const char *name) {
    *target = path_add_ending(name, "");
    for (size_t n = strlen(target->text); n > 1 && target->text[n - 1] == '/';) target->text[--n] = 0;
    if (!*target->text) FAIL(ARG, "%.60s...: path is too long", name);
    struct stat info;
    if (lstat(target->text, &info) == 0 && (!S_ISDIR(info.st_mode) || rmdir(target->text)))
        FAIL(ARG, "%s: exists already; expected the name of a new folder", target->text);
    return STATUS_OK;
}

/* Writes beside the target and renames, so that DIR is never half a model. */
static status write_new(const path_text *target, const model_folder *f, loaded *l, const values *v) {
    char ending[32];
    snprintf(ending, sizeof ending, ".tmp-%d", (int)getpid());
    path_text temporary = path_add_ending(target->text, ending);
    if (mkdir(temporary.text, 0777)) FAIL(IO, "%s: %s", temporary.text, strerror(errno));
    status_code st = write_folder(temporary.text, f, l, v);
    if (!st) st = durable_rename(temporary.text, target->text);
    if (!st) return STATUS_OK;
    char message[1024];
    snprintf(message, sizeof message, "%s", status_message());
    (void)!durable_remove_folder(temporary.text);
    return status_fail(st, __FILE__, __LINE__, "%s", message);
}

static status export_model(const options *o, const values *v) {
    model_folder f;
    loaded l = {0};
    path_text target;
    dtype t = (dtype)v->dtype;
    TRY(command_words(o, 2, 2, "run, checkpoint or model folder, and the folder to write"));
    TRY(model_folder_find(&f, o->words.list[0]));
    TRY(target_folder(&target, o->words.list[1]));
    if (v->dtype < 0) TRY(stored_dtype(&t, f.folder.text));
    status_code st = STATUS_OK;
    TRY_DONE(load(&l, &f, t));
    model_config_log(&f.config, false);
    TRY_DONE(write_new(&target, &f, &l, v));
    i64 n = l.weights.p.parameters;
    printf("%s: %s parameters of %s, %s, %s\n", target.text, text_count((double)n).text, f.folder.text, dtype_name(t),
           text_bytes((double)(n * (i64)dtype_bytes(t))).text);
done:
    unload(&l);
    return st;
}

status command_export(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = export_model(&o, &v);
    options_free(&o);
    return st;
}
