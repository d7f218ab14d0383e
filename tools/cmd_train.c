#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/options_changes.h"
#include "runtime/path.h"
#include "runtime/stop.h"
#include "tools/command.h"
#include "tools/model_folder.h"
#include "tools/shared_options.h"
#include "parallel/job.h"
#include "parallel/job_same.h"
#include "train/trainer.h"

static const double DEFAULT_MIN_LR = 1e-4;
static const char default_model[] = "llama-3m";

typedef struct {
    char *config, *model, *init, *tokenizer, *out, *recompute, *device, *plan, *tensorboard, *prometheus;
    string_list data;
    text_options text;
    i64 steps, batch, seq_len, global_batch, warmup, seed, threads, max_skipped, eval_every, eval_batches,
        checkpoint_every, keep;
    dtype_options dtypes;
    sharding_options sharding;
    bill_options bill;
    int schedule, shard, comm, attention;
    double lr, min_lr, decay_fraction, beta1, beta2, eps, weight_decay, clip, val_fraction, stop_at_loss, price, budget,
        tdp_watts, peak_seconds, comm_timeout, checkpoint_minutes;
    bool resume, help, gemm_search, mask_documents;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(model), .group = "Model and data", OPTION_MODEL, .default_text = default_model},
    {AT(init), .name = "init", .argument = "PATH",
     .help = "start from the weights and the config.json of a Hugging Face folder, a run or a checkpoint, instead of "
             "--model with random weights"},
    {AT(data), OPTION_TRAINING_DATA},
    {AT(tokenizer), OPTION_TOKENIZER},
    {AT(text.key), OPTION_TEXT_KEY},
    {AT(text.max_bad_lines), OPTION_MAX_BAD_LINES},
    {AT(val_fraction), .name = "val-fraction", .argument = "X", .default_text = "0.1", .min = 0, .max = 0.9,
     .help = "fraction of the tokens of each source, at its end, to hold out for evaluation"},
    {AT(seq_len), OPTION_SEQ_LEN, .default_text = "256"},
    {AT(mask_documents), .name = "mask-documents",
     .help = "attention does not cross from one document into another, and positions begin anew with each document"},
    {AT(batch), OPTION_BATCH, .default_text = "8"},
    {AT(global_batch), .name = "global-batch", .argument = "N", .default_text = "0", .min = 0, .max = 1e12,
     .help =
         "tokens in a step, over all ranks; each rank adds up the gradients of as many micro-batches as this takes; "
         "0: one micro-batch per rank, or, with --resume, the value of the resumed run"},

    {AT(steps), .group = "Optimizer", .name = "steps", .argument = "N", .default_text = "1000", .min = 0, .max = 1e12,
     .help = "optimizer steps of the whole run, including those before a --resume"},
    {AT(lr), .name = "lr", .argument = "X", .default_text = "1e-3", .min = 0, .max = 100, .help = "peak learning rate"},
    {AT(min_lr), .name = "min-lr", .argument = "X", .min = 0, .max = 100,
     .help = "learning rate at the end of the schedule; by default 1e-4, or --lr if that is less"},
    {AT(warmup), .name = "warmup", .argument = "N", .default_text = "100", .min = 0, .max = 1e12,
     .help = "steps in which the learning rate rises linearly to --lr"},
    {AT(schedule), .name = "schedule", .choices = CHOICES_TEXT(SCHEDULE_KIND_LIST), .default_text = "cosine",
     .help = "learning rate after the warm-up: cosine and linear decay to --min-lr, wsd stays at --lr and then decays "
             "linearly to --min-lr (see --decay-fraction), constant stays at --lr"},
    {AT(decay_fraction), .name = "decay-fraction", .argument = "X", .default_text = "0.2", .min = 0, .max = 1,
     .help = "with --schedule wsd: fraction of the steps, at the end of the run, in which the learning rate decays"},
    {AT(beta1), .name = "beta1", .argument = "X", .default_text = "0.9", .min = 0, .max = 0.999999,
     .help = "AdamW's decay rate of the first moment"},
    {AT(beta2), .name = "beta2", .argument = "X", .default_text = "0.95", .min = 0, .max = 0.999999,
     .help = "AdamW's decay rate of the second moment"},
    {AT(eps), .name = "eps", .argument = "X", .default_text = "1e-8", .min = 1e-20, .max = 1,
     .help = "AdamW's epsilon, added to the root of the second moment"},
    {AT(weight_decay), .name = "weight-decay", .argument = "X", .default_text = "0.1", .min = 0, .max = 10,
     .help = "AdamW's decoupled weight decay; it applies to matrices only, not to biases and norms"},
    {AT(clip), .name = "clip", .argument = "X", .default_text = "1", .min = 0, .max = 1e9,
     .help = "clip the global gradient norm to X; 0 disables clipping"},
    {AT(max_skipped), .name = "max-skipped", .argument = "N", .default_text = "10", .min = 0, .max = 1e9,
     .help = "a step whose loss or gradient is not finite is skipped; fail after more than N skipped steps in a row"},

    {AT(dtypes.precision), .group = "Precision and memory", OPTION_PRECISION},
    {AT(dtypes.moments), OPTION_MOMENTS},
    {AT(dtypes.master), OPTION_MASTER},
    {AT(recompute), OPTION_RECOMPUTE},

    {AT(shard), .group = OPTION_GROUP_RANKS, .name = "shard", .choices = CHOICES_TEXT(SHARD_STAGE_LIST),
     .default_text = "full", .help = "what is partitioned among the ranks: " OPTION_SHARD_STAGES},
    {AT(sharding.replicas), OPTION_REPLICAS},
    {AT(sharding.gather_dtype), OPTION_GATHER_DTYPE},
    {AT(sharding.reduce_dtype), OPTION_REDUCE_DTYPE},
    {AT(sharding.reduce_every_microbatch), OPTION_REDUCE_EVERY_MICROBATCH},
    {AT(comm_timeout), OPTION_COMM_TIMEOUT(1)},
    {AT(comm), OPTION_COMM},

    {AT(out), .group = "The run", .name = "out", .argument = "RUN",
     .help = "folder of the run: checkpoints, metrics.jsonl, ledger.json, report.html"},
    {AT(resume), .name = "resume", .not_in_file = true,
     .help =
         "continue the run in --out from its newest valid checkpoint; options that are not given are taken from its "
         "config.json"},
    {AT(seed), .name = "seed", .argument = "N", .default_text = "1", .min = 0, .max = 9e18,
     .help = "seed of the initial weights, the order of the data and stochastic rounding"},
    {AT(device), OPTION_DEVICE},
    {AT(threads), OPTION_THREADS},
    {AT(gemm_search), OPTION_GEMM_SEARCH},
    {AT(attention), OPTION_ATTENTION},
    {AT(eval_every), .name = "eval-every", .argument = "N", .default_text = "0", .min = 0, .max = 1e12,
     .help = "evaluate on the held-out tokens every N steps; 0: only at the end"},
    {AT(eval_batches), .name = "eval-batches", .argument = "N", .default_text = "0", .min = 0, .max = 1e12,
     .help = "batches in an evaluation, of each source; 0: all of the held-out tokens"},
    {AT(stop_at_loss), .name = "stop-at-loss", .argument = "X", .default_text = "0", .min = 0, .max = 100,
     .help = "save a checkpoint and end the run at the first evaluation (see --eval-every) whose held-out loss is X or "
             "less; the learning rate decays over --steps all the same; 0: do all --steps"},
    {AT(checkpoint_every), .name = "checkpoint-every", .argument = "N", .default_text = "0", .min = 0, .max = 1e12,
     .help = "save a checkpoint every N steps, in addition to --checkpoint-minutes; 0 disables this"},
    {AT(checkpoint_minutes), .name = "checkpoint-minutes", .argument = "X", .default_text = "10", .min = 0, .max = 1e6,
     .help = "save a checkpoint when X minutes have passed since the last one; 0 disables this"},
    {AT(keep), .name = "keep", .argument = "K", .default_text = "3", .min = 1, .max = 1e9,
     .help =
         "how many checkpoints to keep. Checkpoints whose loss is not finite do not count: only the newest of them is "
         "kept"},
    {AT(tensorboard), OPTION_TENSORBOARD},
    {AT(prometheus), .name = "prometheus", .argument = "FILE",
     .help = "write what the run does now to FILE, in Prometheus's text format: at every step, but at most once a "
             "second. The file is replaced atomically"},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},

    {AT(price), .group = "The bill", OPTION_PRICE},
    OPTION_OWNED_ROWS(AT, bill),
    {AT(budget), .name = "budget", .argument = "USD", .min = 0, .max = 1e12,
     .help = "save a checkpoint and stop before the run costs more than this"},
    {AT(plan), .name = "plan", .argument = "FILE", .not_in_file = true,
     .help = "compare the run with this plan, what `tally plan --json` printed, instead of a plan of its own: memory "
             "from its layout, time from half of the measured peak until 20 steps are measured (plan.json)"},
    {AT(peak_seconds), OPTION_PEAK_SECONDS, .default_text = "0.3"},
    {AT(tdp_watts), .name = "tdp-watts", .argument = "W", .default_text = "0", .min = 0, .max = 1e6,
     .help = "power of one device (each rank has one device), to estimate energy with where no counter can be read; 0: "
             "that of tally's hardware table"},
    OPTION_POWER_ROWS(AT, bill),
};

static const command_help help = {
    .usage = "tally train --data PATH... --out RUN [options]",
    .about = "Trains a language model on text, from scratch or from a given model, and reports what every step costs.\n"
             "  tally train --data book.txt --out runs/book --steps 2000\n"
             "  tally train --init models/SmolLM2-135M --data book.txt --out runs/more\n"
             "  tally train --out runs/book --resume\n"
             "  mpirun -np 4 tally train --data book.txt --out runs/book --shard full\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

static double min_lr(const values *v, const options *given) {
    return fmin(options_given(given, "min-lr") ? v->min_lr : DEFAULT_MIN_LR, v->lr);
}

static train_options to_train_options(const values *v, const options *given) {
    return (train_options){
        .model = v->model,
        .data = shared_options_text(&v->text, (const char *const *)v->data.list, v->data.count),
        .tokenizer = v->tokenizer,
        .out = v->out,
        .steps = v->steps,
        .mask_documents = v->mask_documents,
        .batch = v->batch,
        .seq_len = v->seq_len,
        .global_batch = v->global_batch,
        .lr = {(schedule_kind)v->schedule, v->lr, min_lr(v, given), v->warmup, v->steps, v->decay_fraction},
        .seed = (uint64_t)v->seed,
        .precision = shared_options_training(&v->dtypes),
        .comm_timeout = v->comm_timeout,
        .comm = (comm_kind)v->comm,
        .recompute = v->recompute,
        .device = v->device,
        .threads = (int)v->threads,
        .gemm_search = v->gemm_search,
        .attention = (attention_kind)v->attention,
        .beta1 = v->beta1,
        .beta2 = v->beta2,
        .eps = v->eps,
        .weight_decay = v->weight_decay,
        .clip = v->clip,
        .max_skipped = v->max_skipped,
        .eval_every = v->eval_every,
        .eval_batches = v->eval_batches,
        .val_fraction = v->val_fraction,
        .stop_at_loss = v->stop_at_loss,
        .checkpoint_every = v->checkpoint_every,
        .checkpoint_minutes = v->checkpoint_minutes,
        .keep = v->keep,
        .plan = v->plan,
        .resume = v->resume,
        .budget = options_given(given, "budget") ? v->budget : NAN,
        .peak_seconds = v->peak_seconds,
        .tensorboard = v->tensorboard,
        .prometheus = v->prometheus,
    };
}

/* the options in effect, as RUN/config.json stores them for --resume */
static status config_text(char **text, const options *o) {
    json_t *json;
    TRY(options_to_json(&json, o));
    status_code st = json_print(text, json, JSON_INDENTED);
    json_decref(json);
    return st;
}

/* Earlier versions stored the default of --min-lr as if it had been given, even if it exceeded --lr. */
static void drop_stored_default(options *o, const values *v) {
    if (v->min_lr == DEFAULT_MIN_LR && v->min_lr > v->lr) options_unset(o, "min-lr");
}

/* path = RUN/config.json; false if it does not exist: the run was stopped before it began */
static bool stored_config(path_text *path, const values *v) {
    *path = path_join(v->out, "config.json");
    return access(path->text, F_OK) == 0;
}

/* With --resume and --out but no --config, RUN/config.json is read as --config. */
static status parse(options *o, values *v, int argc, char **argv, bool *done) {
    path_text path;
    TRY(command_parse(o, v, &help, argc, argv, done));
    if (*done || !v->resume || v->config || !v->out || !stored_config(&path, v)) return STATUS_OK;
    bool typed = options_given(o, "min-lr");
    char **longer = calloc((size_t)argc + 2, sizeof *longer);
    if (!longer) FAIL(MEM, "no memory for %d words of the command line", argc);
    char name[] = "--config";
    longer[0] = name, longer[1] = path.text;
    memcpy(longer + 2, argv, (size_t)argc * sizeof *argv);
    options_free(o);
    *v = (values){0};
    status_code st = command_parse(o, v, &help, argc + 2, longer, done);
    free(longer);
    if (!st && !typed) drop_stored_default(o, v);
    return st;
}

/* changes: the options that differ from those stored in the resumed run; before: the learning-rate schedule of those. Both
 * stay as they are if nothing is stored. */
static status compare_with_stored(char **changes, schedule *before, const options *now, const values *v) {
    path_text path;
    if (!v->resume || !stored_config(&path, v)) return STATUS_OK;
    options then;
    values was = {0};
    char name[] = "--config", *words[] = {name, path.text};
    status_code st = options_parse(&then, table, help.count, &was, 2, words);
    if (st == STATUS_DATA) { /* options given now have replaced the stored ones that are invalid */
        if (asprintf(changes, "the options cannot be compared with those of the run so far: %s\n", status_message()) <
            0)
            *changes = NULL;
        st = STATUS_OK;
    } else if (!st) {
        drop_stored_default(&then, &was);
        *before = to_train_options(&was, &then).lr;
        st = options_changes(changes, &then, now);
    }
    options_free(&then);
    return st;
}

/* Options that may differ between ranks: those of the rank's own machine (device, threads, price, power), and paths. What the
 * paths lead to must be the same: same_model compares the model, the trainer the rest. */
static const char *const own_options[] = {"model",      "init",     "data",        "tokenizer",   "out",
                                          "device",     "threads",  "price",       "capex",       "salvage",
                                          "years",      "interest", "opex",        "utilisation", "tdp-watts",
                                          "host-watts", "plan",     "tensorboard", "prometheus"};

static status same_model(FILE *f, const char *name) {
    model_config c;
    TRY(model_config_load(&c, name));
    json_t *json = model_config_to_json(&c), *item;
    const char *key;
    status_code st = json ? STATUS_OK : ERROR(MEM, "%s: no memory to compare it", name);
    json_object_foreach(json, key, item) {
        char *value;
        TRY_DONE(json_print(&value, item, JSON_ONE_LINE));
        fprintf(f, "--model: %s\t%s\n", key, value);
        free(value);
    }
done:
    json_decref(json);
    return st;
}

/* what must be the same on all ranks: see job_same.h */
static status same_text(char **text, const options *o, const values *v, const char *model_name) {
    size_t size;
    FILE *f = open_memstream(text, &size);
    if (!f) FAIL(MEM, "no memory to compare ranks");
    status_code st = STATUS_OK;
    fputs("--help\toff\n", f);
    job_same_program(f);
    fprintf(f, "--resume\t%s\n", v->resume ? "on" : "off");
    TRY_DONE(job_same_options(f, o, own_options, sizeof own_options / sizeof *own_options));
    TRY_DONE(same_model(f, model_name));
done:
    if (fclose(f) && !st) st = ERROR(MEM, "no memory to compare ranks");
    return st;
}

/* If only some ranks were given --help, the others would wait for them: job_open compares and reports it. */
static status end_help(void) {
    job j = {0};
    if (comm_launch_ranks() == 1) return STATUS_OK;
    status_code st = job_open(&j, 60, "--help\ton\n");
    if (st) job_fail(&j, st);
    job_close(&j);
    return st;
}

/* a checkpoint of the run whose configuration can be read, whichever; false: it has none */
static bool any_checkpoint(path_text *folder, const char *run) {
    path_text checkpoints = path_join(run, "checkpoints");
    DIR *d = opendir(checkpoints.text);
    model_config c;
    bool found = false;
    for (const struct dirent *e; d && !found && (e = readdir(d));) {
        *folder = path_join(checkpoints.text, e->d_name);
        found = strncmp(e->d_name, "step-", 5) == 0 && model_config_load(&c, folder->text) == STATUS_OK;
    }
    if (d) closedir(d);
    return found;
}

/* The model to start from. A run that has a checkpoint does not need it any more: any of its checkpoints has the configuration,
 * and the trainer takes the weights from the newest. */
static status find_init(path_text *folder, const values *v) {
    model_folder f;
    if (strcmp(v->model, default_model) != 0)
        FAIL(ARG, "--model %s: --init %s already names the model; expected one of the two", v->model, v->init);
    if (v->resume && any_checkpoint(folder, v->out)) return STATUS_OK;
    TRY(model_folder_find(&f, v->init));
    *folder = f.folder;
    return STATUS_OK;
}

static status prepare_and_run(const options *o, const values *v, int *exit_code) {
    TRY(command_words(o, 0, 0, "an option; name files of text with --data"));
    if (!v->data.count) FAIL(ARG, "--data: missing; expected token files, text files or folders");
    if (!v->out) FAIL(ARG, "--out: missing; expected a folder for the run");
    if (options_given(o, "min-lr") && v->schedule != SCHEDULE_CONSTANT && v->min_lr > v->lr)
        FAIL(ARG, "--min-lr %g: exceeds --lr %g", v->min_lr, v->lr);
    if (v->shard == SHARD_NONE && v->sharding.replicas > 1)
        FAIL(ARG, "--replicas %ld: with --shard none every rank holds the whole model; expected 1",
             v->sharding.replicas);
    if (v->stop_at_loss > 0 && !v->eval_every)
        FAIL(ARG, "--stop-at-loss %g: --eval-every 0 evaluates only at the end; expected --eval-every N",
             v->stop_at_loss);
    train_options t = to_train_options(v, o);
    path_text init;
    if (v->init) {
        TRY(find_init(&init, v));
        t.model = t.init = init.text;
    }
    TRY(shared_options_bill(&t.terms, &v->bill, v->price, o));
    t.terms.watts = v->tdp_watts;
    TRY(shared_options_sharding(&t.precision.shard, &v->sharding, (shard_stage)v->shard, t.precision.t));
    train_outcome outcome;
    schedule before = t.lr;
    char *config = NULL, *changes = NULL, *same = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(config_text(&config, o));
    TRY_DONE(compare_with_stored(&changes, &before, o, v));
    TRY_DONE(same_text(&same, o, v, t.model));
    t.config_json = config;
    t.same = same;
    t.changes = changes;
    t.lr_before = before;
    st = trainer_run(&t, &outcome);
done:
    free(config);
    free(changes);
    free(same);
    if (!st && outcome == TRAIN_STOPPED) *exit_code = 128 + stop_signal();
    return st;
}

status command_train(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    TRY(stop_open());
    status_code st = parse(&o, &v, argc, argv, &done);
    if (!st) st = done ? end_help() : prepare_and_run(&o, &v, exit_code);
    if (st) job_refuse(st);
    options_free(&o);
    return st;
}
