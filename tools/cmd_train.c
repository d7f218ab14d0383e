#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/options_changes.h"
#include "runtime/path.h"
#include "runtime/stop.h"
#include "tools/commands.h"
#include "tools/text_options.h"
#include "parallel/job.h"
#include "parallel/job_same.h"
#include "train/trainer.h"

enum { PRECISION_BF16, PRECISION_FP32 };
enum { GATHER_AUTO, GATHER_FP32, GATHER_BF16 };
enum { REDUCE_FP32, REDUCE_BF16 };
static const double DEFAULT_MIN_LR = 1e-4;

typedef struct {
    char *config, *model, *out, *recompute, *device;
    string_list data;
    text_options text;
    i64 steps, batch, seq_len, global_batch, warmup, seed, threads, max_skipped, eval_every, eval_batches,
        checkpoint_every, keep;
    i64 replicas;
    int schedule, precision, moments, master, shard, gather_dtype, reduce_dtype, comm, attention;
    double lr, min_lr, decay_fraction, beta1, beta2, eps, weight_decay, clip, val_fraction, price, budget, tdp_watts,
        peak_seconds, comm_timeout, checkpoint_minutes;
    bool resume, help, reduce_every_microbatch, gemm_search;
} values;

#define AT(field) offsetof(values, field)
#define MODEL "Model and data"
#define OPTIMIZER "Optimizer"
#define MEMORY "Precision and memory"
#define RANKS "Ranks"
#define RUN "The run"
#define BILL "The bill"

/* clang-format off */
static const option table[] = {
    {"model", OPT_STRING, AT(model), "llama-3m", "NAME|PATH", "a preset (`tally inspect --models` lists them), or a Hugging Face config.json", NULL, 0, 0, MODEL, false},
    {"data", OPT_LIST, AT(data), NULL, "PATH", "text to train on: " TEXT_OPTION_PATHS, NULL, 0, 0, MODEL, false},
    TEXT_OPTION_ROWS(values, text, MODEL),
    {"val-fraction", OPT_F64, AT(val_fraction), "0.1", "X", "share of the tokens held out for evaluation", NULL, 0, 0.9, MODEL, false},
    {"seq-len", OPT_I64, AT(seq_len), "256", "T", "tokens of a sequence", NULL, 1, 1 << 20, MODEL, false},
    {"batch", OPT_I64, AT(batch), "8", "B", "sequences of a micro-batch, on each rank", NULL, 1, 1 << 20, MODEL, false},
    {"global-batch", OPT_I64, AT(global_batch), "0", "N", "tokens a step; gradients of micro-batches add up to it; 0: one micro-batch a rank, or what the resumed run has", NULL, 0, 1e12, MODEL, false},
    {"steps", OPT_I64, AT(steps), "1000", "N", "optimizer steps of the whole run", NULL, 0, 1e12, OPTIMIZER, false},
    {"lr", OPT_F64, AT(lr), "1e-3", "X", "highest learning rate", NULL, 0, 100, OPTIMIZER, false},
    {"min-lr", OPT_F64, AT(min_lr), NULL, "X", "learning rate at the schedule's end; by default 1e-4, or --lr if that is less", NULL, 0, 100, OPTIMIZER, false},
    {"warmup", OPT_I64, AT(warmup), "100", "N", "steps of linear rise", NULL, 0, 1e12, OPTIMIZER, false},
    {"schedule", OPT_CHOICE, AT(schedule), "cosine", "KIND", "of the learning rate after the warm-up", CHOICES_TEXT(SCHEDULE_KIND_LIST), 0, 0, OPTIMIZER, false},
    {"decay-fraction", OPT_F64, AT(decay_fraction), "0.2", "X", "wsd: share of the steps in which the rate falls", NULL, 0, 1, OPTIMIZER, false},
    {"beta1", OPT_F64, AT(beta1), "0.9", "X", "AdamW's decay of the first moment", NULL, 0, 0.999999, OPTIMIZER, false},
    {"beta2", OPT_F64, AT(beta2), "0.95", "X", "AdamW's decay of the second moment", NULL, 0, 0.999999, OPTIMIZER, false},
    {"eps", OPT_F64, AT(eps), "1e-8", "X", "AdamW's epsilon", NULL, 1e-20, 1, OPTIMIZER, false},
    {"weight-decay", OPT_F64, AT(weight_decay), "0.1", "X", "decoupled, on matrices only", NULL, 0, 10, OPTIMIZER, false},
    {"clip", OPT_F64, AT(clip), "1", "X", "global gradient norm is cut to this; 0: not", NULL, 0, 1e9, OPTIMIZER, false},
    {"max-skipped", OPT_I64, AT(max_skipped), "10", "N", "end the run after more than N steps in a row whose loss or gradient is not finite", NULL, 0, 1e9, OPTIMIZER, false},
    {"precision", OPT_CHOICE, AT(precision), "bf16", "KIND", "of weights and activations; sums, master weights and gradients are fp32 in both", "bf16|fp32", 0, 0, MEMORY, false},
    {"moments", OPT_CHOICE, AT(moments), "fp32", "KIND", "of Adam's moments; bf16 is rounded stochastically", "fp32|bf16", 0, 0, MEMORY, false},
    {"master", OPT_CHOICE, AT(master), "fp32", "KIND", "master weights; none: bf16 weights are rounded stochastically", "fp32|none", 0, 0, MEMORY, false},
    {"recompute", OPT_STRING, AT(recompute), "none", "POLICY", "activations made again in backward: none, selective (norms, activation products), block (all but each block's input), block:K (of the first K blocks)", NULL, 0, 0, MEMORY, false},
    {"shard", OPT_CHOICE, AT(shard), "full", "STAGE", "what is cut up among the ranks: optimizer (its state), gradients (these too), full (weights too), none (all on every rank)", CHOICES_TEXT(SHARD_STAGE_LIST), 0, 0, RANKS, false},
    {"replicas", OPT_I64, AT(replicas), "1", "R", "shard inside a group of ranks/R, all-reduce across groups", NULL, 1, 1e6, RANKS, false},
    {"gather-dtype", OPT_CHOICE, AT(gather_dtype), "auto", "KIND", "in which weights travel (with --shard none they do not); auto: their own; bf16 rounds fp32 ones", "auto|fp32|bf16", 0, 0, RANKS, false},
    {"reduce-dtype", OPT_CHOICE, AT(reduce_dtype), "fp32", "KIND", "in which gradients travel; sums are fp32 in both", "fp32|bf16", 0, 0, RANKS, false},
    {"reduce-every-microbatch", OPT_FLAG, AT(reduce_every_microbatch), "on", NULL, "gradients and full: send gradients after every micro-batch; off: keep all of them on each rank and send once a step", NULL, 0, 0, RANKS, false},
    {"comm-timeout", OPT_F64, AT(comm_timeout), "600", "S", "how long a rank waits for another before the run ends with an error", NULL, 1, 1e6, RANKS, false},
    {"comm", OPT_CHOICE, AT(comm), "auto", "KIND", "how GPUs exchange: nccl directly, staged through host memory (slow), auto: nccl where each rank has a GPU of its own", CHOICES_TEXT(COMM_KIND_LIST), 0, 0, RANKS, false},
    {"out", OPT_STRING, AT(out), NULL, "RUN", "folder of the run: checkpoints, metrics.jsonl, ledger.json, report.html", NULL, 0, 0, RUN, false},
    {"resume", OPT_FLAG, AT(resume), NULL, NULL, "go on from the newest good checkpoint in --out; its config.json gives the options not given", NULL, 0, 0, RUN, true},
    {"seed", OPT_I64, AT(seed), "1", "N", "of initial weights, data order and stochastic rounding", NULL, 0, 9e18, RUN, false},
    {"device", OPT_STRING, AT(device), "auto", "NAME", "auto, cpu, cuda or cuda:N", NULL, 0, 0, RUN, false},
    {"threads", OPT_I64, AT(threads), "0", "N", "CPU threads; 0: one for each CPU that affinity and the cgroup's quota allow", NULL, 0, 1024, RUN, false},
    {"gemm-search", OPT_FLAG, AT(gemm_search), NULL, NULL, "GPU: time the library's algorithms for each shape of product at its first use; a run that is resumed is then equal within rounding, not bitwise", NULL, 0, 0, RUN, false},
    {"attention", OPT_CHOICE, AT(attention), "own", "KIND", "GPU: our own kernels, or cuDNN's in a build that has it: equal within bf16's rounding, not bitwise", CHOICES_TEXT(ATTENTION_KIND_LIST), 0, 0, RUN, false},
    {"eval-every", OPT_I64, AT(eval_every), "0", "N", "steps between evaluations on the held-out text; 0: at the end only", NULL, 0, 1e12, RUN, false},
    {"eval-batches", OPT_I64, AT(eval_batches), "0", "N", "batches of an evaluation; 0: all held-out text", NULL, 0, 1e12, RUN, false},
    {"checkpoint-every", OPT_I64, AT(checkpoint_every), "0", "N", "steps between checkpoints, beside those by --checkpoint-minutes; 0: none by steps", NULL, 0, 1e12, RUN, false},
    {"checkpoint-minutes", OPT_F64, AT(checkpoint_minutes), "10", "X", "save a checkpoint when X minutes have passed since the last; 0: none by time", NULL, 0, 1e6, RUN, false},
    {"keep", OPT_I64, AT(keep), "3", "K", "checkpoints kept. Checkpoints whose loss is not finite do not count; only the newest of those is kept", NULL, 1, 1e9, RUN, false},
    {"config", OPT_STRING, AT(config), NULL, "FILE", "JSON of these options ('-' as '_'); an option overrides it", NULL, 0, 0, RUN, true},
    {"help", OPT_FLAG, AT(help), NULL, NULL, "this text", NULL, 0, 0, RUN, true},
    {"price", OPT_F64, AT(price), NULL, "USD", "of a device-hour, a device a rank; without it the dated table's, where it knows the device", NULL, 0, 1e9, BILL, false},
    {"budget", OPT_F64, AT(budget), NULL, "USD", "end cleanly, with a checkpoint, before the run costs more", NULL, 0, 1e12, BILL, false},
    {"peak-seconds", OPT_F64, AT(peak_seconds), "0.3", "S", "how long to measure this device's peak with large products at start; 0: not, and no figures relative to it", NULL, 0, 60, BILL, false},
    {"tdp-watts", OPT_F64, AT(tdp_watts), "0", "W", "power of a device, a device a rank, where its energy cannot be read; 0: the table's", NULL, 0, 1e6, BILL, false},
};
/* clang-format on */

static const command_help help = {
    .usage = "tally train --data PATH... --out RUN [options]",
    .about = "Trains a transformer from scratch on text and shows what every step costs.\n"
             "  tally train --data book.txt --out runs/book --steps 2000\n"
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
        .data = text_options_source(&v->text, (const char *const *)v->data.list, v->data.count),
        .out = v->out,
        .steps = v->steps,
        .batch = v->batch,
        .seq_len = v->seq_len,
        .global_batch = v->global_batch,
        .lr = {(schedule_kind)v->schedule, v->lr, min_lr(v, given), v->warmup, v->steps, v->decay_fraction},
        .seed = (uint64_t)v->seed,
        .precision = {.t = v->precision == PRECISION_FP32 ? F32 : BF16,
                      .master = v->master == 0,
                      .moments = v->moments == 0 ? F32 : BF16,
                      .training = true,
                      .shard = {.stage = (shard_stage)v->shard,
                                .replicas = (int)v->replicas,
                                .gather_bf16 = v->gather_dtype == GATHER_BF16,
                                .reduce_bf16 = v->reduce_dtype == REDUCE_BF16,
                                .accumulate_locally = !v->reduce_every_microbatch}},
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
        .checkpoint_every = v->checkpoint_every,
        .checkpoint_minutes = v->checkpoint_minutes,
        .keep = v->keep,
        .resume = v->resume,
        .price = options_given(given, "price") ? v->price : NAN,
        .budget = options_given(given, "budget") ? v->budget : NAN,
        .tdp_watts = v->tdp_watts,
        .peak_seconds = v->peak_seconds,
    };
}

/* the options in effect, for --resume and for --config */
static status config_text(char **text, const options *o) {
    json_t *json;
    TRY(options_to_json(&json, o));
    status_code st = json_print(text, json, JSON_INDENTED);
    json_decref(json);
    return st;
}

/* Earlier versions stored the default as if it had been given, above --lr too. */
static void drop_stored_default(options *o, const values *v) {
    if (v->min_lr == DEFAULT_MIN_LR && v->min_lr > v->lr) options_unset(o, "min-lr");
}

/* RUN/config.json; false where there is none: the run was stopped before it began */
static bool stored_config(path_text *path, const values *v) {
    *path = path_join(v->out, "config.json");
    return access(path->text, F_OK) == 0;
}

/* With --resume, --out and no --config: the run's own config.json stands for --config. */
static status parse(options *o, values *v, int argc, char **argv, bool *done) {
    path_text path;
    TRY(command_parse(o, v, &help, argc, argv, done));
    if (*done || !v->resume || v->config || !v->out || !stored_config(&path, v)) return STATUS_OK;
    bool typed = options_given(o, "min-lr");
    char **longer = calloc((size_t)argc + 2, sizeof *longer);
    if (!longer) FAIL(MEM, "%d words", argc);
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

/* what differs from the options of the run that is resumed, and the schedule that those give; both stay as they are where
 * nothing is stored */
static status compare_with_stored(char **changes, schedule *before, const options *now, const values *v) {
    path_text path;
    if (!v->resume || !stored_config(&path, v)) return STATUS_OK;
    options then;
    values was = {0};
    char name[] = "--config", *words[] = {name, path.text};
    status_code st = options_parse(&then, table, help.count, &was, 2, words);
    if (st == STATUS_DATA) { /* what is given now replaces what is wrong there, or the run would not begin */
        if (asprintf(changes, "the options are not compared with those before: %s\n", status_message()) < 0)
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

/* What may differ between ranks: what belongs to the rank's own machine (device, threads, its price and power), and paths,
 * of which what they lead to is compared: of the model here, of the rest by the trainer. */
static const char *const own_options[] = {"model", "data", "out", "device", "threads", "price", "tdp-watts"};

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

/* what all ranks must have alike: job_same.h */
static status same_text(char **text, const options *o, const values *v) {
    size_t size;
    FILE *f = open_memstream(text, &size);
    if (!f) FAIL(MEM, "no memory to compare ranks");
    status_code st = STATUS_OK;
    fputs("--help\toff\n", f);
    job_same_program(f);
    fprintf(f, "--resume\t%s\n", v->resume ? "on" : "off");
    TRY_DONE(job_same_options(f, o, own_options, sizeof own_options / sizeof *own_options));
    TRY_DONE(same_model(f, v->model));
done:
    if (fclose(f) && !st) st = ERROR(MEM, "no memory to compare ranks");
    return st;
}

/* A rank that only prints its help would leave the others waiting for it. */
static status end_help(void) {
    job j = {0};
    if (comm_launch_ranks() == 1) return STATUS_OK;
    status_code st = job_open(&j, 60, "--help\ton\n");
    if (st) job_fail(&j, st);
    job_close(&j);
    return st;
}

static status prepare_and_run(const options *o, const values *v, int *exit_code) {
    TRY(command_words(o, 0, 0, "an option; text is named by --data"));
    if (!v->data.count) FAIL(ARG, "--data: missing; expected files or folders of text");
    if (!v->out) FAIL(ARG, "--out: missing; expected a folder for the run");
    if (options_given(o, "min-lr") && v->schedule != SCHEDULE_CONSTANT && v->min_lr > v->lr)
        FAIL(ARG, "--min-lr %g: above --lr %g", v->min_lr, v->lr);
    if (v->gather_dtype == GATHER_FP32 && v->precision == PRECISION_BF16)
        FAIL(ARG, "--gather-dtype fp32: the weights are bf16, by --precision; expected auto or bf16");
    if (v->shard == SHARD_NONE && v->replicas > 1)
        FAIL(ARG, "--replicas %ld: with --shard none every rank is one; expected 1", v->replicas);
    train_options t = to_train_options(v, o);
    train_outcome outcome;
    schedule before = t.lr;
    char *config = NULL, *changes = NULL, *same = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(config_text(&config, o));
    TRY_DONE(compare_with_stored(&changes, &before, o, v));
    TRY_DONE(same_text(&same, o, v));
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
    options_free(&o);
    return st;
}
