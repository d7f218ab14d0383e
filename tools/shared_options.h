/* Options that several subcommands have. Their rows of the option table are written here, once: name, limits, default and
 * help. The subcommand adds the member that holds the value, its own default if there is none here, and headings:
 *
 *   {AT(batch), .group = "Step", OPTION_BATCH, .default_text = "8"},
 *
 * The help is the last field of a row, so that a subcommand can append to it. The functions turn values into what the rest of
 * the program takes. */
#ifndef TALLY_SHARED_OPTIONS_H
#define TALLY_SHARED_OPTIONS_H

#include "layers/attention.h"
#include "runtime/options.h"
#include "train/bill/ledger.h"
#include "train/data/corpus.h"
#include "train/model/parameters.h"

/* --- every subcommand --- */

#define OPTION_CONFIG                                                                                                  \
    .name = "config", .argument = "FILE", .not_in_file = true,                                                         \
    .help =                                                                                                            \
        "read options from a JSON file, whose keys are the names of the options with '_' in place of '-'; options "    \
        "on the command line override the file"
#define OPTION_HELP .name = "help", .not_in_file = true, .help = "print this help"
#define OPTION_JSON .name = "json", .help = "print the result as one JSON object"

/* --- the model and its step --- */

#define OPTION_MODEL                                                                                                   \
    .name = "model", .argument = "NAME|PATH",                                                                          \
    .help = "a preset (`tally inspect --models` lists them) or the path of a Hugging Face config.json"
#define OPTION_BATCH                                                                                                   \
    .name = "batch", .argument = "B", .min = 1, .max = 1 << 20, .help = "sequences in a micro-batch of one rank"
#define OPTION_SEQ_LEN .name = "seq-len", .argument = "T", .min = 1, .max = 1 << 20, .help = "tokens in a sequence"
#define OPTION_ACCUMULATE(MOST)                                                                                        \
    .name = "accumulate", .argument = "N", .default_text = "1", .min = 1, .max = MOST,                                 \
    .help = "micro-batches that each rank processes in a step; their gradients are added up"
#define OPTION_RECOMPUTE                                                                                               \
    .name = "recompute", .argument = "POLICY", .default_text = "none",                                                 \
    .help = "activations to recompute in the backward pass instead of keeping them: none, selective (the outputs of "  \
            "norms and of the activation function), block (all but the input of each block), block:K (the same for "   \
            "the first K blocks only)"

/* --- dtypes --- */

#define MASTER_LIST(X) X(MASTER_FP32, "fp32") X(MASTER_NONE, "none")
enum { MASTER_LIST(CHOICES_VALUE) };

typedef struct {
    int precision, moments; /* dtype */
    int master;             /* MASTER_LIST */
} dtype_options;

#define OPTION_PRECISION                                                                                               \
    .name = "precision", .choices = CHOICES_TEXT(DTYPE_LIST), .default_text = "bf16",                                  \
    .help = "dtype of weights and activations; sums and gradients are fp32 either way"
#define OPTION_MOMENTS                                                                                                 \
    .name = "moments", .choices = CHOICES_TEXT(DTYPE_LIST), .default_text = "fp32",                                    \
    .help = "dtype of Adam's two moments; bf16 moments are rounded stochastically"
#define OPTION_MASTER                                                                                                  \
    .name = "master", .choices = CHOICES_TEXT(MASTER_LIST), .default_text = "fp32",                                    \
    .help = "fp32 keeps a master copy of bf16 weights for the optimizer to update; none updates the bf16 weights "     \
            "themselves, rounded stochastically"

parameters_options shared_options_training(const dtype_options *v); /* its .shard stays zero */

/* --- ranks --- */

#define OPTION_GROUP_RANKS "Ranks (processes that mpirun or srun starts, one for each device)"
/* what --shard says of each stage */
#define OPTION_SHARD_STAGES                                                                                            \
    "optimizer (the optimizer's state), gradients (also the gradients), full (also the weights), none (nothing: each " \
    "rank holds everything)"

typedef struct {
    i64 replicas;
    int gather_dtype; /* GATHER_LIST */
    int reduce_dtype; /* dtype */
    bool reduce_every_microbatch;
} sharding_options;

#define GATHER_LIST(X) X(GATHER_AUTO, "auto") X(GATHER_FP32, "fp32") X(GATHER_BF16, "bf16")
enum { GATHER_LIST(CHOICES_VALUE) };

#define OPTION_REPLICAS                                                                                                \
    .name = "replicas", .argument = "R", .default_text = "1", .min = 1, .max = 1e6,                                    \
    .help = "divide the ranks into R groups: the model is sharded inside each group, and gradients are all-reduced "   \
            "across groups; with --shard none, every rank is a group of its own"
#define OPTION_GATHER_DTYPE                                                                                            \
    .name = "gather-dtype", .choices = CHOICES_TEXT(GATHER_LIST), .default_text = "auto",                              \
    .help = "dtype in which weights are gathered; auto: that of --precision; bf16 rounds fp32 weights; no effect "     \
            "with --shard none"
#define OPTION_REDUCE_DTYPE                                                                                            \
    .name = "reduce-dtype", .choices = CHOICES_TEXT(DTYPE_LIST), .default_text = "fp32",                               \
    .help = "dtype in which gradients are sent; their sums are fp32 either way"
#define OPTION_REDUCE_EVERY_MICROBATCH                                                                                 \
    .name = "reduce-every-microbatch", .default_text = "on",                                                           \
    .help = "with --shard gradients and full: reduce gradients after every micro-batch; off: keep all gradients on "   \
            "each rank and reduce them once a step"
#define OPTION_COMM                                                                                                    \
    .name = "comm", .choices = CHOICES_TEXT(COMM_KIND_LIST), .default_text = "auto",                                   \
    .help = "how GPUs communicate: nccl (directly), staged (through host memory, slow), auto (nccl if NCCL can be "    \
            "used and each rank has a GPU of its own, else staged)"
#define OPTION_COMM_TIMEOUT(LEAST)                                                                                     \
    .name = "comm-timeout", .argument = "SECONDS", .default_text = "600", .min = LEAST, .max = 1e6,                    \
    .help = "fail if a rank waits this long in a collective without receiving anything"

/* o->world and o->ranks stay zero. ARG if --gather-dtype contradicts the precision. SHARD_NONE ignores --replicas. */
status shared_options_sharding(shard_options *o, const sharding_options *v, shard_stage stage, dtype precision);

/* --- the machine --- */

#define OPTION_DEVICE                                                                                                  \
    .name = "device", .argument = "NAME", .default_text = "auto",                                                      \
    .help = "where to compute: cpu, cuda (a GPU), cuda:N (GPU number N) or auto (a GPU if there is one, else the CPU)"
#define OPTION_THREADS                                                                                                 \
    .name = "threads", .argument = "N", .default_text = "0", .min = 0, .max = 1024,                                    \
    .help = "CPU threads of a rank; 0: one for each CPU that its affinity and its cgroup's quota allow"
#define OPTION_GEMM_SEARCH                                                                                             \
    .name = "gemm-search",                                                                                             \
    .help = "GPU: at the first GEMM of each shape, time cuBLASLt's algorithms and keep the fastest; a run that is "    \
            "resumed is then equal within rounding, not bitwise"
#define OPTION_ATTENTION                                                                                               \
    .name = "attention", .choices = CHOICES_TEXT(ATTENTION_KIND_LIST), .default_text = "own",                          \
    .help = "GPU: the kernels for attention: tally's own, or cuDNN's (in a build that has cuDNN); their results are "  \
            "equal within bf16's rounding, not bitwise"
#define OPTION_PEAK_SECONDS                                                                                            \
    .name = "peak-seconds", .argument = "SECONDS", .min = 0, .max = 60,                                                \
    .help = "how long to measure the device's peak FLOP/s with large GEMMs; 0 disables the measurement and the "       \
            "figures relative to it"
#define OPTION_TENSORBOARD                                                                                             \
    .name = "tensorboard", .argument = "DIR",                                                                          \
    .help = "write the run's numbers to an event file for TensorBoard in the folder DIR, which may hold no "           \
            "event files of other runs"
#define OPTION_PRICE                                                                                                   \
    .name = "price", .argument = "USD", .min = 0, .max = 1e9,                                                          \
    .help = "price of a device-hour (each rank has one device); by default that of tally's dated hardware table, if "  \
            "the table lists the device"

/* Devices that are owned, and the power of whole machines; `m` is the bill_options of the values. No row has a default in the
 * table: a stored default would read as given. */
typedef struct {
    money_owned owned;
    double host_watts, pue, kwh_price;
    char *grid;
} bill_options;
#define OPTION_OWNED_ROWS(AT, m)                                                                                       \
    {AT(m.owned.capex_usd),                                                                                            \
     .name = "capex",                                                                                                  \
     .argument = "USD",                                                                                                \
     .min = 0,                                                                                                         \
     .max = 1e9,                                                                                                       \
     .help =                                                                                                           \
         "instead of --price: what a device that is owned has cost, with its share of server, network and building"},  \
        {AT(m.owned.salvage),                                                                                          \
         .name = "salvage",                                                                                            \
         .argument = "X",                                                                                              \
         .min = 0,                                                                                                     \
         .max = 1,                                                                                                     \
         .help = "with --capex: the fraction of it that is left after --years; by default 0"},                         \
        {AT(m.owned.years), .name = "years", .argument = "N",                                                          \
         .min = 0.01,       .max = 100,      .help = "with --capex: years of service; by default 4"},                  \
        {AT(m.owned.rate), .name = "interest", .argument = "X",                                                        \
         .min = 0,         .max = 1,           .help = "with --capex: interest per year; 0.05 is 5%. By default 0"},   \
        {AT(m.owned.opex_usd_per_hour),                                                                                \
         .name = "opex",                                                                                               \
         .argument = "USD",                                                                                            \
         .min = 0,                                                                                                     \
         .max = 1e6,                                                                                                   \
         .help = "with --capex: staff, space and repairs of a device per hour, without power; by default 0"},          \
        {AT(m.owned.utilisation),                                                                                      \
         .name = "utilisation",                                                                                        \
         .argument = "X",                                                                                              \
         .min = 0.001,                                                                                                 \
         .max = 1,                                                                                                     \
         .help = "with --capex: the fraction of the hours in which the device is in use; by default 1"},               \
    {                                                                                                                  \
        AT(m.kwh_price),                                                                                               \
            .name = "kwh-price", .argument = "USD", .min = 0, .max = 1e3,                                              \
            .help = "with --capex: price of a kWh, by which power is added to the cost; rent includes power"           \
    }
#define OPTION_POWER_ROWS(AT, m)                                                                                       \
    {AT(m.host_watts), .name = "host-watts", .argument = "W",                                                          \
     .min = 0,         .max = 1e6,           .help = "power of a node's host beside its devices"},                     \
        {AT(m.pue),       .name = "pue",                                                                               \
         .argument = "X", .min = 1,                                                                                    \
         .max = 10,       .help = "power usage effectiveness: all power of the building / that of its computers"},     \
    {                                                                                                                  \
        AT(m.grid), .name = "grid", .argument = "CC|KG",                                                               \
                    .help = "for carbon: a country's two letters, or kg of CO2 per kWh"                                \
    }

/* Sets what is not given, and refuses an unknown grid and options of owners without --capex. t->watts is 0. `price` is the value
 * of --price. */
status shared_options_bill(ledger_terms *t, const bill_options *v, double price, const options *given);

/* --- text --- */

typedef struct {
    char *key;
    i64 max_bad_lines;
} text_options;

#define OPTION_DATA(PURPOSE)                                                                                           \
    .name = "data", .argument = "PATH",                                                                                \
    .help = PURPOSE ": files or folders of files. A file holds plain text, or JSON objects (.jsonl, .ndjson, .json) "  \
                    "with one document each, under the key --text-key. Files may be compressed (.gz, .zst)"
#define OPTION_TRAINING_DATA                                                                                           \
    .name = "data", .argument = "PATH[:WEIGHT]",                                                                       \
    .help = "what to train on: token files (of `tally tokenize` or llm.c), text, or folders of either. With weights, " \
            "as in a:0.7 b:0.3, each path is a source of its own and supplies that share of the sequences. A file of " \
            "text holds plain text, or JSON objects (.jsonl, .ndjson, .json) with one document each, under the key "   \
            "--text-key, and may be compressed (.gz, .zst)"
#define OPTION_TOKENIZER                                                                                               \
    .name = "tokenizer", .argument = "PATH",                                                                           \
    .help =                                                                                                            \
        "tokenizer for text: a tokenizer.json, or a folder with one or with GPT-2's files, or `bytes`; by default "    \
        "that of the model's folder, else bytes"
#define OPTION_TOKENIZER_FILE                                                                                          \
    .name = "tokenizer", .argument = "PATH",                                                                           \
    .help = "a tokenizer.json, a folder that holds one, or a folder of vocab.json (or encoder.json) and merges.txt "   \
            "(or vocab.bpe); without it, tokens are bytes"
#define OPTION_TEXT_KEY                                                                                                \
    .name = "text-key", .argument = "KEY", .default_text = "text",                                                     \
    .help = "key under which a JSON object holds its text"
#define OPTION_MAX_BAD_LINES                                                                                           \
    .name = "max-bad-lines", .argument = "N", .default_text = "100", .min = 0, .max = 1e15,                            \
    .help = "skip up to N lines of JSON that hold no text under --text-key, and log the first few; with more than N "  \
            "such lines the command fails"

text_source shared_options_text(const text_options *v, const char *const *paths, int count);

#endif
