#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/text.h"
#include "tools/command.h"
#include "tools/plan_step.h"
#include "tools/shared_options.h"
#include "train/bill/hardware.h"
#include "train/model/cost.h"
#include "train/trainer.h"

typedef struct {
    char *config, *model, *recompute, *devices, *shard;
    i64 batch, seq_len, accumulate, per_node;
    dtype_options dtypes;
    sharding_options sharding;
    int gpu, node_link, network;
    double peak_tflops, efficiency, memory_bandwidth, node_bandwidth, node_latency, network_bandwidth, network_latency,
        price;
    bool overlap, json, help;
} values;

/* by the names that the driver reports, which are those of the hardware table */
#define GPU_LIST(X) X("NVIDIA A100-SXM4-80GB", "a100") X("NVIDIA H100 80GB HBM3", "h100") X("NVIDIA H200", "h200")
static const char *const gpus[] = {GPU_LIST(CHOICES_VALUE)};
#define NODE_LINKS "auto|nvlink-a100|nvlink-h100"
#define NETWORKS "auto|ib-hdr200|ib-ndr400"

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(model), .group = "Model and step", OPTION_MODEL, .default_text = "llama3.1-8b"},
    {AT(batch), OPTION_BATCH, .default_text = "1"},
    {AT(seq_len), OPTION_SEQ_LEN, .default_text = "2048"},
    {AT(accumulate), OPTION_ACCUMULATE(1 << 16)},
    {AT(dtypes.precision), OPTION_PRECISION},
    {AT(dtypes.moments), OPTION_MOMENTS},
    {AT(dtypes.master), OPTION_MASTER},
    {AT(recompute), OPTION_RECOMPUTE},

    {AT(devices), .group = "Ranks, one on each device", .name = "devices", .argument = "N,...", .default_text = "8",
     .help = "numbers of devices, separated by commas; the result has a row for each"},
    {AT(per_node), .name = "gpus-per-node", .argument = "N", .default_text = "8", .min = 1, .max = 1 << 10,
     .help = "devices in a node"},
    {AT(shard), .name = "shard", .argument = "STAGE,...", .default_text = "full",
     .help = "what is partitioned among the ranks: " OPTION_SHARD_STAGES
             "; the result has a row for each stage of a list separated by commas"},
    {AT(sharding.replicas), OPTION_REPLICAS},
    {AT(sharding.gather_dtype), OPTION_GATHER_DTYPE},
    {AT(sharding.reduce_dtype), OPTION_REDUCE_DTYPE},
    {AT(sharding.reduce_every_microbatch), OPTION_REDUCE_EVERY_MICROBATCH},
    {AT(overlap), .name = "overlap", .default_text = "on",
     .help = "overlap communication with computation; off, for comparison: the computation waits for each collective"},

    {AT(gpu), .group = "Machine", .name = "gpu", .choices = CHOICES_TEXT(GPU_LIST), .default_text = "h100",
     .help = "the GPU whose peak, memory, links and price are taken from tally's hardware table; the options below "
             "override them one by one"},
    {AT(peak_tflops), .name = "peak-tflops", .argument = "X", .min = 1e-6, .max = 1e6,
     .help = "peak TFLOP/s of a device, dense, at --precision"},
    {AT(efficiency), .name = "efficiency", .argument = "X", .default_text = "0.55", .min = 0.001, .max = 1,
     .help = "fraction of the peak that the computation is assumed to reach"},
    {AT(memory_bandwidth), .name = "memory-bandwidth", .argument = "GB/s", .min = 1e-3, .max = 1e6,
     .help = "bandwidth of a device's memory"},
    {AT(node_link), .name = "node-link", .choices = NODE_LINKS, .default_text = "auto",
     .help = "link between the devices of a node; auto: the one that the hardware table gives for --gpu"},
    {AT(node_bandwidth), .name = "node-bandwidth", .argument = "GB/s", .min = 1e-3, .max = 1e6,
     .help = "bandwidth that a collective reaches on the link inside a node, per device and direction"},
    {AT(node_latency), .name = "node-latency", .argument = "US", .min = 0, .max = 1e6,
     .help = "microseconds of one hop inside a node"},
    {AT(network), .name = "network", .choices = NETWORKS, .default_text = "auto",
     .help = "network between nodes; auto: the one that the hardware table gives for --gpu"},
    {AT(network_bandwidth), .name = "network-bandwidth", .argument = "GB/s", .min = 1e-3, .max = 1e6,
     .help = "bandwidth that a collective reaches on the network, per device and direction"},
    {AT(network_latency), .name = "network-latency", .argument = "US", .min = 0, .max = 1e6,
     .help = "microseconds of one hop between nodes"},
    {AT(price), OPTION_PRICE},

    {AT(json), .group = "Output", OPTION_JSON},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally plan [options]",
    .about =
        "Predicts time, exposed communication, memory and cost of a training step on a cluster. It runs the sharding\n"
        "engine that training uses, over simulated links and with a simulated clock; nothing is trained.\n"
        "  tally plan --model llama3.1-8b --devices 8,64,256 --gpu h100 --seq-len 8192 --recompute selective\n"
        "  tally plan --model llama3.2-1b --devices 8 --shard none,optimizer,gradients,full\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

enum { MOST_ROWS = 64 };

typedef struct {
    int devices;
    shard_stage stage;
    step_plan plan;
    prediction p;
    double tokens_per_s, mfu, usd_per_mtok, memory; /* mfu, usd_per_mtok: NAN if not known */
} row;

typedef struct {
    machine m;
    const hardware *hw;
    const hardware_link *node_link, *network;
    double peak, price; /* FLOP/s; USD per device-hour, NAN if not known */
    bool own_peak, own_memory, own_node_bandwidth, own_node_latency, own_network_bandwidth, own_network_latency,
        own_price;
} setting;

/* --- from the options --- */

static double reached(const hardware_link *l) { return l->bytes_per_s * l->reached; }

static status read_machine(setting *s, const values *v, const options *o) {
    const hardware *h = hardware_find(DEVICE_CUDA, gpus[v->gpu]);
    if (!h || h->memory_bytes <= 0) FAIL(ARG, "--gpu: %s is not in the hardware table", gpus[v->gpu]);
    *s = (setting){.hw = h,
                   .node_link = v->node_link ? &hardware_node_links[v->node_link - 1] : h->node_link,
                   .network = v->network ? &hardware_networks[v->network - 1] : h->network,
                   .own_peak = options_given(o, "peak-tflops"),
                   .own_memory = options_given(o, "memory-bandwidth"),
                   .own_node_bandwidth = options_given(o, "node-bandwidth"),
                   .own_node_latency = options_given(o, "node-latency"),
                   .own_network_bandwidth = options_given(o, "network-bandwidth"),
                   .own_network_latency = options_given(o, "network-latency"),
                   .own_price = options_given(o, "price")};
    s->peak = s->own_peak ? v->peak_tflops * 1e12 : v->dtypes.precision == F32 ? h->peak_fp32 : h->peak_bf16;
    s->price = s->own_price ? v->price : h->usd_per_hour > 0 ? h->usd_per_hour : NAN;
    s->m = (machine){.flops = s->peak * v->efficiency,
                     .memory = s->own_memory ? v->memory_bandwidth * 1e9 : h->memory_bytes_per_s,
                     .net = {.per_node = (int)v->per_node,
                             .inside = {s->own_node_bandwidth ? v->node_bandwidth * 1e9 : reached(s->node_link),
                                        s->own_node_latency ? v->node_latency * 1e-6 : s->node_link->latency_s},
                             .between = {s->own_network_bandwidth ? v->network_bandwidth * 1e9 : reached(s->network),
                                         s->own_network_latency ? v->network_latency * 1e-6 : s->network->latency_s}},
                     .blocking = !v->overlap};
    return STATUS_OK;
}

/* the next item of a list separated by commas; false after the last */
static bool next_item(const char **list, char *item, size_t size) {
    if (!**list) return false;
    size_t n = strcspn(*list, ",");
    snprintf(item, size, "%.*s", (int)n, *list);
    *list += n + ((*list)[n] == ',');
    return true;
}

static status read_devices(int *devices, const char *text) {
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 1 || n > 1 << 20)
        FAIL(ARG, "--devices \"%s\": expected integers from 1 to 1048576, separated by commas", text);
    *devices = (int)n;
    return STATUS_OK;
}

static status read_stage(shard_stage *stage, const char *text) {
    int found = options_choice(CHOICES_TEXT(SHARD_STAGE_LIST), text);
    if (found < 0) FAIL(ARG, "--shard is \"%s\", expected %s", text, CHOICES_TEXT(SHARD_STAGE_LIST));
    *stage = (shard_stage)found;
    return STATUS_OK;
}

static status read_plan(step_plan *plan, const values *v) {
    *plan = (step_plan){.s = {.B = v->batch, .T = v->seq_len},
                        .o = shared_options_training(&v->dtypes),
                        .micro_batches = v->accumulate};
    TRY(shared_options_sharding(&plan->o.shard, &v->sharding, SHARD_FULL, plan->o.t)); /* each row sets its stage */
    TRY(model_config_load(&plan->c, v->model));
    return recompute_parse(&plan->s.recompute, v->recompute, plan->c.L);
}

static status predict_row(row *r, const setting *s) {
    r->plan.o.shard.ranks = r->devices;
    r->plan.o.shard.stage = r->stage;
    if (r->stage == SHARD_NONE) r->plan.o.shard.replicas = 1;
    TRY(plan_step_predict(&r->p, &r->plan, &s->m));
    const model_shape *shape = &r->plan.s;
    i64 sequences = shape->B * r->plan.micro_batches;
    flop_counter f = cost_training_flops(&r->plan.c, shape->recompute, sequences, shape->T);
    double seconds = (double)r->p.step_ns * 1e-9;
    r->tokens_per_s = (double)(sequences * shape->T) * r->devices / seconds;
    r->mfu = s->peak > 0 ? (double)meter_flops_model(&f) / seconds / s->peak : NAN;
    r->usd_per_mtok = s->price * r->devices / 3600 / r->tokens_per_s * 1e6;
    r->memory = 0;
    for (int i = 0; i < MEM_CATEGORIES; i++) r->memory += (double)r->p.memory[i];
    return STATUS_OK;
}

/* a row for every number of devices and every stage */
static status predict_rows(row *rows, int *count, const values *v, const setting *s) {
    char item[32];
    step_plan plan;
    TRY(read_plan(&plan, v));
    *count = 0;
    for (const char *devices = v->devices; next_item(&devices, item, sizeof item);) {
        int n = 0;
        TRY(read_devices(&n, item));
        for (const char *list = v->shard; next_item(&list, item, sizeof item);) {
            row r = {.devices = n, .plan = plan};
            TRY(read_stage(&r.stage, item));
            if (*count == MOST_ROWS) FAIL(ARG, "--devices, --shard: expected at most %d rows", MOST_ROWS);
            TRY(predict_row(&r, s));
            rows[(*count)++] = r;
        }
    }
    if (!*count) FAIL(ARG, "--devices \"%s\", --shard \"%s\": expected at least one each", v->devices, v->shard);
    return STATUS_OK;
}

/* --- for people --- */

static void print_link(const char *what, const hardware_link *l, network_link in_use, bool own_bandwidth,
                       bool own_latency) {
    printf("  %-14s %.1f GB/s per device and direction", what, in_use.bandwidth * 1e-9);
    if (own_bandwidth) printf(" (as given)");
    else
        printf(": %s, %.0f GB/s (%s) x %.2f (%s)", l->name, l->bytes_per_s * 1e-9, l->source, l->reached,
               l->reached_source);
    printf("; %.1f us per hop (%s)\n", in_use.latency * 1e6, own_latency ? "as given" : l->latency_source);
}

static void print_assumptions(const setting *s, const values *v) {
    printf("assumed\n  %-14s %.1f TFLOP/s (%s) x %.3g, the fraction of the peak that is assumed to be reached\n",
           "GEMM", s->peak * 1e-12, s->own_peak ? "as given" : s->hw->peak_source, v->efficiency);
    printf("  %-14s %.0f GB/s (%s)\n", "memory", s->m.memory * 1e-9, s->own_memory ? "as given" : s->hw->memory_source);
    print_link("in a node", s->node_link, s->m.net.inside, s->own_node_bandwidth, s->own_node_latency);
    print_link("between nodes", s->network, s->m.net.between, s->own_network_bandwidth, s->own_network_latency);
    if (!isnan(s->price))
        printf("  %-14s $%.4g per device-hour (%s)\n", "price", s->price,
               s->own_price ? "as given" : s->hw->price_source);
}

static void print_rows(const row *rows, int count, const setting *s) {
    printf("%7s %-9s %9s %9s %19s %10s %10s %6s %9s\n", "devices", "shard", "step ms", "compute", "exposed", "sent/dev",
           "tokens/s", "MFU", "USD/Mtok");
    for (int i = 0; i < count; i++) {
        const row *r = &rows[i];
        printf("%7d %-9s %9.1f %9.1f %10.1f (%5.1f%%) %10s %10s", r->devices, fsdp_stage_name(r->stage),
               (double)r->p.step_ns * 1e-6, (double)r->p.compute_ns * 1e-6, (double)r->p.exposed_ns * 1e-6,
               100 * (double)r->p.exposed_ns / (double)r->p.step_ns, text_bytes((double)r->p.bytes_sent).text,
               text_count(r->tokens_per_s).text);
        if (isnan(r->mfu)) printf(" %6s", "-");
        else printf(" %5.1f%%", 100 * r->mfu);
        if (isnan(r->usd_per_mtok)) printf(" %9s\n", "-");
        else printf(" %9.4f\n", r->usd_per_mtok);
    }
    printf("\n%7s %-9s", "devices", "bytes/dev");
    for (int i = 0; i < MEM_CATEGORIES; i++) printf(" %11s", arena_category_name((mem_category)i));
    printf(" %11s\n", "total");
    bool too_large = false;
    for (int i = 0; i < count; i++) {
        const row *r = &rows[i];
        bool large = r->memory > s->hw->memory_bytes;
        printf("%7d %-9s", r->devices, fsdp_stage_name(r->stage));
        for (int k = 0; k < MEM_CATEGORIES; k++) printf(" %11s", text_bytes((double)r->p.memory[k]).text);
        printf(" %11s%s\n", text_bytes(r->memory).text, large ? " *" : "");
        too_large |= large;
    }
    if (too_large) printf("* exceeds the memory of a device: %s\n", text_bytes(s->hw->memory_bytes).text);
}

static void print_text(const row *rows, int count, const setting *s, const values *v) {
    const model_config *c = &rows[0].plan.c;
    printf("predicted, not run: %s, %s parameters, %s, B=%ld T=%ld", c->name,
           text_count((double)model_config_parameters(c)).text, dtype_name((dtype)v->dtypes.precision), v->batch,
           v->seq_len);
    if (v->accumulate > 1) printf(" x %ld", v->accumulate);
    printf(" per device, recompute %s, %ld devices per node", v->recompute, v->per_node);
    if (v->sharding.replicas > 1) printf(", %ld replicas", v->sharding.replicas);
    printf("%s\n", v->overlap ? "" : ", no overlap");
    print_rows(rows, count, s);
    print_assumptions(s, v);
}

/* --- for programs --- */

static status fill_row(json_t *o, const row *r) {
    TRY(json_add_i64(o, "devices", r->devices));
    TRY(json_add_string(o, "shard", fsdp_stage_name(r->stage)));
    TRY(json_add_double(o, "step_ms", (double)r->p.step_ns * 1e-6));
    TRY(json_add_double(o, "compute_ms", (double)r->p.compute_ns * 1e-6));
    TRY(json_add_double(o, "exposed_ms", (double)r->p.exposed_ns * 1e-6));
    TRY(json_add_double(o, "communication_ms", (double)r->p.communication_ns * 1e-6));
    TRY(json_add_u64(o, "bytes_sent", r->p.bytes_sent));
    TRY(json_add_double(o, "tokens_per_s", r->tokens_per_s));
    TRY(json_add_number_or_null(o, "mfu", r->mfu));
    TRY(json_add_number_or_null(o, "usd_per_mtok", r->usd_per_mtok));
    for (int i = 0; i < MEM_CATEGORIES; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s_bytes", arena_category_name((mem_category)i));
        TRY(json_add_u64(o, key, r->p.memory[i]));
    }
    return json_add_double(o, "memory_bytes", r->memory);
}

static status fill_machine(json_t *o, const setting *s, const values *v) {
    TRY(json_add_string(o, "model", v->model));
    TRY(json_add_i64(o, "batch", v->batch));
    TRY(json_add_i64(o, "seq_len", v->seq_len));
    TRY(json_add_i64(o, "accumulate", v->accumulate));
    TRY(json_add_i64(o, "replicas", v->sharding.replicas));
    TRY(json_add_string(o, "recompute", v->recompute));
    TRY(json_add_bool(o, "overlap", v->overlap));
    TRY(json_add_i64(o, "gpus_per_node", v->per_node));
    TRY(json_add_double(o, "peak_flops_per_s", s->peak));
    TRY(json_add_double(o, "assumed_efficiency", v->efficiency));
    TRY(json_add_double(o, "memory_bytes_per_s", s->m.memory));
    TRY(json_add_double(o, "node_bytes_per_s", s->m.net.inside.bandwidth));
    TRY(json_add_double(o, "node_latency_s", s->m.net.inside.latency));
    TRY(json_add_double(o, "network_bytes_per_s", s->m.net.between.bandwidth));
    TRY(json_add_double(o, "network_latency_s", s->m.net.between.latency));
    return json_add_number_or_null(o, "usd_per_device_hour", s->price);
}

static status fill_json(json_t *o, const row *rows, int count, const setting *s, const values *v) {
    json_t *list = json_add_array(o, "predictions");
    if (!list) FAIL(MEM, "no memory for the result");
    TRY(fill_machine(o, s, v));
    for (int i = 0; i < count; i++) {
        json_t *item = json_append_object(list);
        if (!item) FAIL(MEM, "no memory for the result");
        TRY(fill_row(item, &rows[i]));
    }
    return STATUS_OK;
}

static status print_json(const row *rows, int count, const setting *s, const values *v) {
    json_t *o = json_object();
    return command_print_json(o, fill_json(o, rows, count, s, v));
}

static status plan_command(const options *o, const values *v) {
    setting s;
    int count = 0;
    TRY(command_words(o, 0, 0, "an option"));
    TRY(read_machine(&s, v, o));
    row *rows = calloc(MOST_ROWS, sizeof *rows);
    if (!rows) FAIL(MEM, "no memory for the rows");
    status_code st = predict_rows(rows, &count, v, &s);
    if (!st && v->json) st = print_json(rows, count, &s, v);
    else if (!st) print_text(rows, count, &s, v);
    free(rows);
    return st;
}

status command_plan(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = plan_command(&o, &v);
    options_free(&o);
    return st;
}
