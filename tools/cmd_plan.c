#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/command.h"
#include "tools/plan_budget.h"
#include "tools/plan_claims.h"
#include "tools/plan_gpus.h"
#include "tools/plan_json.h"
#include "tools/plan_print.h"
#include "tools/plan_target.h"

typedef struct {
    char *config, *svg;
    plan_options plan;
    double budget, target_loss;
    i64 tokens_at_most;
    bool search, reproduce, gpus, json, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(plan.model), .group = "Model and step", OPTION_MODEL, .default_text = "llama3.1-8b"},
    {AT(plan.parameters), .name = "parameters", .argument = "N", .min = 1, .max = 1e14,
     .help = "instead of --model: a model of the Llama family with about N parameters, --layers and --width"},
    {AT(plan.layers), .name = "layers", .argument = "L", .min = 1, .max = 1 << 20, .help = "layers of --parameters"},
    {AT(plan.width), .name = "width", .argument = "C", .min = 64, .max = 1 << 20, .help = "channels of --parameters"},
    {AT(plan.vocabulary), .name = "vocabulary", .argument = "V", .default_text = "32000", .min = 2, .max = 1 << 24,
     .help = "vocabulary of --parameters"},
    {AT(plan.tokens), .name = "tokens", .argument = "N", .min = 1, .max = 1e18,
     .help = "tokens to train on; without them only a step is planned"},
    {AT(plan.batch), OPTION_BATCH, .default_text = "1"},
    {AT(plan.seq_len), OPTION_SEQ_LEN "; by default the model's context, but at most 2048"},
    {AT(plan.accumulate), OPTION_ACCUMULATE(1 << 16)},
    {AT(plan.dtypes.precision), OPTION_PRECISION},
    {AT(plan.dtypes.moments), OPTION_MOMENTS},
    {AT(plan.dtypes.master), OPTION_MASTER},
    {AT(plan.recompute), OPTION_RECOMPUTE},

    {AT(plan.devices), .group = "Ranks, one on each device", .name = "devices", .argument = "N,...",
     .default_text = "1", .help = "numbers of devices, separated by commas; the result has a row for each"},
    {AT(plan.per_node), .name = "gpus-per-node", .argument = "N", .default_text = "8", .min = 1, .max = 1 << 10,
     .help = "devices in a node"},
    {AT(plan.shard), .name = "shard", .argument = "STAGE,...", .default_text = "full",
     .help = "what is partitioned among the ranks: " OPTION_SHARD_STAGES
             "; the result has a row for each stage of a list separated by commas"},
    {AT(plan.sharding.replicas), OPTION_REPLICAS},
    {AT(plan.sharding.gather_dtype), OPTION_GATHER_DTYPE},
    {AT(plan.sharding.reduce_dtype), OPTION_REDUCE_DTYPE},
    {AT(plan.sharding.reduce_every_microbatch), OPTION_REDUCE_EVERY_MICROBATCH},
    {AT(plan.overlap), .name = "overlap", .default_text = "on",
     .help = "overlap communication with computation; off, for comparison: the computation waits for each collective"},

    {AT(plan.gpu), .group = "Machine", .name = "gpu", .argument = "KEY", .default_text = "h100",
     .help = "the GPU whose peak, memory, links, power and price are taken from tally's hardware table (an unknown KEY "
             "lists "
             "them), or cpu: this machine, whose peak is measured. The options below override them one by one"},
    {AT(plan.hardware), .name = "hardware", .argument = "FILE",
     .help = "instead of --gpu: a JSON file that describes a device"},
    {AT(plan.threads), OPTION_THREADS},
    {AT(plan.peak_tflops), .name = "peak-tflops", .argument = "X", .min = 1e-6, .max = 1e6,
     .help = "peak TFLOP/s of a device at --precision; dense: not the doubled figure for 2:4 sparsity"},
    {AT(plan.efficiency), .name = "efficiency", .argument = "X", .default_text = "0.55", .min = 0.001, .max = 1,
     .help = "fraction of the peak that GEMMs are assumed to reach; the step is simulated with it"},
    {AT(plan.mfu), .name = "mfu", .argument = "X", .min = 1e-6, .max = 1,
     .help = "instead of --efficiency: the MFU that the whole step reaches, with exact-causal FLOPs"},
    {AT(plan.rate), .name = "rate", .argument = "TOK/S", .min = 1e-6, .max = 1e15,
     .help = "instead of --efficiency: tokens per second of all devices together, as measured"},
    {AT(plan.from), .name = "from", .argument = "RUN",
     .help = "instead of --efficiency: what a run has measured (its calibration.json). Options that are not given are "
             "those of the run"},
    {AT(plan.memory_gib), .name = "memory", .argument = "GIB", .min = 1e-3, .max = 1e6,
     .help = "memory of a device, 2^30 bytes"},
    {AT(plan.memory_bandwidth), .name = "memory-bandwidth", .argument = "GB/s", .min = 1e-3, .max = 1e6,
     .help = "bandwidth of a device's memory"},
    {AT(plan.node_link), .name = "node-link", .argument = "NAME", .default_text = "auto",
     .help =
         "link between the devices of a node (an unknown NAME lists them); auto: the one that the hardware table gives "
         "for --gpu"},
    {AT(plan.node_bandwidth), .name = "node-bandwidth", .argument = "GB/s", .min = 1e-3, .max = 1e6,
     .help = "bandwidth that a collective reaches on the link inside a node, per device and direction"},
    {AT(plan.node_latency), .name = "node-latency", .argument = "US", .min = 0, .max = 1e6,
     .help = "microseconds of one hop inside a node"},
    {AT(plan.network), .name = "network", .argument = "NAME", .default_text = "auto",
     .help =
         "network between nodes (an unknown NAME lists them); auto: the one that the hardware table gives for --gpu"},
    {AT(plan.network_bandwidth), .name = "network-bandwidth", .argument = "GB/s", .min = 1e-3, .max = 1e6,
     .help = "bandwidth that a collective reaches on the network, per device and direction"},
    {AT(plan.network_latency), .name = "network-latency", .argument = "US", .min = 0, .max = 1e6,
     .help = "microseconds of one hop between nodes"},

    {AT(plan.price), .group = "Money", OPTION_PRICE},
    OPTION_OWNED_ROWS(AT, plan.bill),

    {AT(plan.watts), .group = "Energy and failures", .name = "tdp-watts", .argument = "W", .min = 0, .max = 1e5,
     .help = "power of one device; by default that of tally's hardware table"},
    OPTION_POWER_ROWS(AT, plan.bill),
    {AT(plan.mtbf_hours), .name = "mtbf-hours", .argument = "HOURS", .min = 1e-3, .max = 1e12,
     .help = "mean time between failures of one device; a job on N devices fails N times as often"},
    {AT(plan.checkpoint_s), .name = "checkpoint-seconds", .argument = "S", .default_text = "60", .min = 1e-3,
     .max = 1e6, .help = "with --mtbf-hours: how long a checkpoint stops the run; with --from, by default as measured"},
    {AT(plan.restart_s), .name = "restart-seconds", .argument = "S", .default_text = "300", .min = 0, .max = 1e6,
     .help = "with --mtbf-hours: how long a restart takes; with --from, by default as the run's start"},

    {AT(reproduce), .group = "Published figures", .name = "reproduce", .not_in_file = true,
     .help =
         "compute what articles claim that training costs again, beside their figures, with a verdict; or one ROW with "
         "its inputs; or " PLAN_CLAIMS_PUBLISHED
         ", 144 published rows of MFU. The exit code is 1 if a figure is not as "
         "expected. No other option but --json has an effect"},

    {AT(search), .group = "Search and budget", .name = "search",
     .help = "find the cheapest configuration that fits, with the same tokens in a step: micro-batch and accumulation, "
             "and those of --recompute, --shard, --replicas and --moments that are not given"},
    {AT(svg), .name = "svg", .argument = "FILE", .help = "with --search: write cost against memory as a picture"},
    {AT(budget), .name = "budget", .argument = "USD", .min = 0.01, .max = 1e15,
     .help = "the best model that this money buys: parameters, tokens and loss by published scaling laws, and the "
             "nearest presets"},
    {AT(tokens_at_most), .name = "tokens-at-most", .argument = "N", .min = 1, .max = 1e18,
     .help = "with --budget: how many different tokens there are; a run may repeat them"},

    {AT(target_loss), .group = "A loss to reach", .name = "target-loss", .argument = "X", .min = 1e-6, .max = 100,
     .help = "with --from RUN: the tokens, time and dollars at which the run reaches this loss, with an interval, "
             "from a power law through its own curve (90% if it goes on by that law); of the other options only "
             "--price and --json have an effect"},

    {AT(gpus), .group = "Output", .name = "gpus", .not_in_file = true,
     .help = "list the hardware table: dense peaks, memory, power and price of each --gpu, with their sources"},
    {AT(json), OPTION_JSON},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally plan [options] | tally plan --reproduce [ROW]",
    .about = "Plans a training run that has not begun: parameters, FLOPs, memory, time, money, energy and carbon, on\n"
             "machines that may not be here. A step is simulated: the sharding engine that training uses runs over\n"
             "simulated links and a simulated clock. Every figure that is assumed is printed with its source.\n"
             "  tally plan --model llama3.1-8b --tokens 1e12 --gpu h100 --devices 256 --recompute selective\n"
             "  tally plan --model llama3.2-1b --devices 8,64 --shard none,optimizer,gradients,full\n"
             "  tally plan --model gpt2-124m --gpu cpu --seq-len 256\n"
             "  tally plan --from runs/book --target-loss 1.5\n"
             "  tally plan --reproduce\n"
             "  tally plan --model llama3.1-8b --devices 64 --batch 8 --search --svg frontier.svg\n"
             "  tally plan --budget 10000 --gpu h100 --devices 8 --batch 8 --tokens-at-most 100e9\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

static status plan_rows(const plan_options *v, bool json, const plan_setting *s) {
    plan_request *requests;
    plan *plans = NULL;
    int count;
    status_code st = plan_options_rows(&requests, &count, v, s);
    if (!st && !(plans = calloc((size_t)count, sizeof *plans))) st = ERROR(MEM, "no memory for the plans");
    for (int i = 0; i < count && !st; i++) st = plan_make(&plans[i], &requests[i]);
    plan_list list = {.requests = requests, .plans = plans, .count = count};
    if (!st && json) st = plan_json_print(&list, s, v);
    else if (!st) plan_print(&list, s, v);
    free(plans);
    free(requests);
    return st;
}

/* --- the modes --- */

static status check_modes(const options *o, const values *v) {
    bool budget = options_given(o, "budget"), rate = options_given(o, "rate"), target = options_given(o, "target-loss");
    if (v->reproduce + v->gpus + v->search + budget + target > 1)
        FAIL(ARG, "--reproduce, --gpus, --search, --budget, --target-loss: expected one of them");
    if (v->svg && !v->search) FAIL(ARG, "--svg: expected --search with it");
    if (options_given(o, "tokens-at-most") && !budget) FAIL(ARG, "--tokens-at-most: expected --budget with it");
    if (target && !v->plan.from) FAIL(ARG, "--target-loss %g: expected --from RUN with it", v->target_loss);
    if (target && options_given(o, "tokens")) FAIL(ARG, "--target-loss, --tokens: expected one of them");
    if (!v->search && !budget) return STATUS_OK;
    if (strchr(v->plan.devices, ',') || strchr(v->plan.shard, ','))
        FAIL(ARG, "--devices \"%s\", --shard \"%s\": expected one each with --search or --budget", v->plan.devices,
             v->plan.shard);
    if (budget && options_given(o, "tokens")) FAIL(ARG, "--budget, --tokens: expected one of them");
    bool of_model = options_given(o, "model") || options_given(o, "parameters");
    if (budget && !rate && of_model)
        FAIL(ARG, "--budget: finds the model; expected --model or --parameters only with --rate");
    if (budget && rate && !of_model)
        FAIL(ARG, "--budget, --rate: expected --model or --parameters, the model that was trained at this rate");
    return STATUS_OK;
}

static status plan_mode(const options *o, const values *v, const plan_options *in_effect, const plan_setting *s) {
    plan_search_kept kept = {.recompute = options_given(o, "recompute"),
                             .stage = options_given(o, "shard"),
                             .replicas = options_given(o, "replicas"),
                             .moments = options_given(o, "moments")};
    bool budget = options_given(o, "budget");
    if (!v->search && !budget) return plan_rows(in_effect, v->json, s);
    double most = options_given(o, "tokens-at-most") ? (double)v->tokens_at_most : INFINITY;
    if (v->search) TRY(plan_search(&s->base, &(plan_search_options){kept, v->svg, v->json}));
    else TRY(plan_budget(&s->base, &(plan_budget_options){v->budget, most, kept, v->json}));
    if (!v->json) plan_print_assumed(s);
    return STATUS_OK;
}

static status plan_command(const options *o, const values *v, int *exit_code) {
    plan_setting s = {0};
    plan_options in_effect = v->plan;
    TRY(check_modes(o, v));
    if (v->reproduce) {
        TRY(command_words(o, 0, 1, "row of --reproduce"));
        return plan_claims(o->words.count ? o->words.list[0] : NULL, v->json, exit_code);
    }
    TRY(command_words(o, 0, 0, "an option"));
    if (v->gpus) return plan_gpus(v->json);
    if (options_given(o, "target-loss"))
        return plan_target(v->plan.from, v->target_loss, options_given(o, "price") ? v->plan.price : NAN, v->json);
    status_code st = v->plan.from ? plan_options_from(&s, &in_effect, o) : STATUS_OK;
    if (!st) st = plan_options_read(&s, &in_effect, o);
    if (!st) st = plan_mode(o, v, &in_effect, &s);
    plan_options_free(&s);
    return st;
}

status command_plan(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = plan_command(&o, &v, exit_code);
    options_free(&o);
    return st;
}
