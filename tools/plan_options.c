#include "tools/plan_options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/gemm.h"
#include "runtime/json.h"
#include "runtime/path.h"
#include "tools/plan_shape.h"

#define AS_GIVEN "as given"

static plan_fact given_or(const options *o, const char *name, double given, double table, const char *source) {
    if (options_given(o, name)) return (plan_fact){given, AS_GIVEN};
    return table > 0 ? (plan_fact){table, source} : (plan_fact){NAN, NULL};
}

/* --- the model and its step --- */

enum { MOST_DEFAULT_TOKENS = 2048 };

static status read_model(model_config *c, const plan_options *v, const options *o) {
    if (!options_given(o, "parameters")) return model_config_load(c, v->model);
    if (options_given(o, "model")) FAIL(ARG, "--parameters, --model: expected one of them");
    if (!v->layers || !v->width) FAIL(ARG, "--parameters: expected --layers and --width with it");
    plan_shape shape = {.parameters = (double)v->parameters,
                        .layers = v->layers,
                        .width = v->width,
                        .vocabulary = v->vocabulary,
                        .context = v->seq_len ? v->seq_len : MOST_DEFAULT_TOKENS};
    return plan_shape_find(c, &shape);
}

static status read_step(step_plan *p, const plan_options *v, const options *o) {
    *p = (step_plan){.s = {.B = v->batch, .T = v->seq_len},
                     .o = shared_options_training(&v->dtypes),
                     .micro_batches = v->accumulate};
    if (!options_given(o, "parameters") && (v->layers || v->width))
        FAIL(ARG, "--layers, --width: expected --parameters with them");
    TRY(shared_options_sharding(&p->o.shard, &v->sharding, SHARD_FULL, p->o.t)); /* each row sets its stage */
    TRY(read_model(&p->c, v, o));
    model_config_log(&p->c, true);
    if (!p->s.T) p->s.T = p->c.context < MOST_DEFAULT_TOKENS ? p->c.context : MOST_DEFAULT_TOKENS;
    return recompute_parse(&p->s.recompute, v->recompute, p->c.L);
}

/* --- the machine --- */

static const hardware_link *find_link(const hardware_link *list, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0) return &list[i];
    return NULL;
}

typedef struct {
    const char *name, *bandwidth_name, *latency_name; /* options */
    const hardware_link *list, *usual;
    int count;
    const char *choice;
    double gb_per_s, us;
} link_options;

static status read_link(plan_link *l, network_link *reached, const link_options *q, const options *o) {
    const hardware_link *table = q->usual;
    char names[256] = "auto";
    if (strcmp(q->choice, "auto") != 0) {
        table = find_link(q->list, q->count, q->choice);
        for (int i = 0; i < q->count; i++)
            snprintf(names + strlen(names), sizeof names - strlen(names), "|%s", q->list[i].name);
        if (!table) FAIL(ARG, "--%s is \"%s\", expected %s", q->name, q->choice, names);
    }
    *l = (plan_link){.own_bandwidth = options_given(o, q->bandwidth_name),
                     .own_latency = options_given(o, q->latency_name)};
    if (table) l->link = *table;
    *reached = (network_link){.bandwidth = l->own_bandwidth ? q->gb_per_s * 1e9
                                           : table          ? table->bytes_per_s * table->reached
                                                            : NAN,
                              .latency = l->own_latency ? q->us * 1e-6
                                         : table        ? table->latency_s
                                                        : NAN};
    return STATUS_OK;
}

/* h: NULL for the CPU, between whose ranks no link is in the table */
static status read_links(plan_setting *s, const hardware *h, const plan_options *v, const options *o) {
    link_options inside = {.name = "node-link",
                           .bandwidth_name = "node-bandwidth",
                           .latency_name = "node-latency",
                           .list = hardware_node_links,
                           .usual = h ? h->node_link : NULL,
                           .count = HARDWARE_NODE_LINKS,
                           .choice = v->node_link,
                           .gb_per_s = v->node_bandwidth,
                           .us = v->node_latency};
    link_options between = {.name = "network",
                            .bandwidth_name = "network-bandwidth",
                            .latency_name = "network-latency",
                            .list = hardware_networks,
                            .usual = h ? h->network : NULL,
                            .count = HARDWARE_NETWORKS,
                            .choice = v->network,
                            .gb_per_s = v->network_bandwidth,
                            .us = v->network_latency};
    TRY(read_link(&s->inside, &s->base.m.net.inside, &inside, o));
    return read_link(&s->between, &s->base.m.net.between, &between, o);
}

enum { MEASURED_BYTES = 256 << 20 };

/* bytes/s at which all threads write memory */
static status measure_bandwidth(double *bytes_per_s, device *dev) {
    void *memory;
    uint64_t best = UINT64_MAX;
    TRY(dev->ops->alloc(dev, &memory, MEASURED_BYTES));
    status_code st = STATUS_OK;
    for (int i = 0; i < 5 && !st; i++) {
        uint64_t since = meter_clock_ns();
        st = dev->ops->zero(dev, memory, MEASURED_BYTES);
        uint64_t took = meter_clock_ns() - since;
        if (took < best) best = took;
    }
    dev->ops->free(dev, memory, MEASURED_BYTES);
    *bytes_per_s = MEASURED_BYTES / ((double)best * 1e-9);
    return st;
}

/* What no datasheet of a CPU tells is measured, unless it is given. With --from, the run has measured it. */
static status measure_cpu(plan_setting *s, const plan_options *v, const options *o) {
    double peak, bandwidth;
    s->peak = given_or(o, "peak-tflops", v->peak_tflops * 1e12, 0, NULL);
    s->bandwidth = given_or(o, "memory-bandwidth", v->memory_bandwidth * 1e9, 0, NULL);
    if (v->from) return STATUS_OK;
    if (!s->peak.source &&
        !options_given(o, "rate")) { /* other work here may lower the peak below a rate that is true */
        TRY(gemm_measure_peak(s->cpu, s->base.step.o.t, 0.5, &peak));
        s->peak = (plan_fact){peak, "measured now with large GEMMs on this machine"};
    }
    if (!s->bandwidth.source) {
        TRY(measure_bandwidth(&bandwidth, s->cpu));
        s->bandwidth = (plan_fact){bandwidth, "measured now: all threads write 256 MiB"};
    }
    return STATUS_OK;
}

/* --gpu cpu: this machine */
static status read_cpu(plan_setting *s, const plan_options *v, const options *o) {
    host_room room;
    TRY(device_open(&s->cpu, "cpu", (int)v->threads, 0));
    s->base.m.layout = s->cpu;
    s->device = s->cpu->name;
    TRY(measure_cpu(s, v, o));
    TRY(s->cpu->ops->room(s->cpu, &room));
    s->limit = given_or(o, "memory", v->memory_gib * 0x1p30, room.left == UINT64_MAX ? 0 : (double)room.left,
                        "free on this machine now, for all ranks");
    s->shared_memory = !options_given(o, "memory");
    const hardware *h = hardware_find(DEVICE_CPU, s->cpu->name);
    double threads = s->cpu->threads;
    s->price = given_or(o, "price", v->price, h ? h->usd_per_hour * threads : 0, h ? h->price_source : NULL);
    s->watts = given_or(o, "tdp-watts", v->watts, h ? h->tdp_watts * threads : 0, h ? h->tdp_source : NULL);
    return read_links(s, NULL, v, o);
}

static double peak_of(const hardware *h, dtype t) { return t == F32 ? h->peak_fp32 : h->peak_bf16; }

static status read_gpu(plan_setting *s, const plan_options *v, const options *o) {
    const hardware *h = &s->file.hardware;
    if (v->hardware) TRY(hardware_read(&s->file, v->hardware));
    else if (hardware_by_key(&h, v->gpu)) FAIL(ARG, "--gpu: %s; or cpu", status_message());
    double dense = peak_of(h, s->base.step.o.t);
    if (options_given(o, "peak-tflops"))
        TRY(hardware_check_dense("--peak-tflops", h->name, v->peak_tflops * 1e12, dense));
    s->device = h->name;
    s->peak = given_or(o, "peak-tflops", v->peak_tflops * 1e12, dense, h->peak_source);
    s->bandwidth = given_or(o, "memory-bandwidth", v->memory_bandwidth * 1e9, h->memory_bytes_per_s, h->memory_source);
    s->limit = given_or(o, "memory", v->memory_gib * 0x1p30, h->memory_bytes, h->memory_source);
    s->price = given_or(o, "price", v->price, h->usd_per_hour, h->price_source);
    s->watts = given_or(o, "tdp-watts", v->watts, h->tdp_watts, h->tdp_source);
    return read_links(s, h, v, o);
}

/* how fast the step is: simulated with an efficiency, given, or measured by a run */
static status read_speed(plan_setting *s, const plan_options *v, const options *o) {
    bool mfu = options_given(o, "mfu"), rate = options_given(o, "rate"), efficiency = options_given(o, "efficiency");
    if (mfu + rate + efficiency + (v->from != NULL) > 1)
        FAIL(ARG, "--mfu, --rate, --efficiency, --from: expected one of them");
    if (rate && strchr(v->devices, ','))
        FAIL(ARG, "--rate is of all devices together; expected one number of --devices, found \"%s\"", v->devices);
    s->base.mfu = mfu ? v->mfu : NAN;
    s->base.tokens_per_s = rate ? v->rate : NAN;
    s->efficiency = mfu || rate || v->from ? NAN : v->efficiency;
    s->base.peak = s->peak.value;
    s->base.m.flops = s->peak.value * s->efficiency;
    s->base.m.memory = s->bandwidth.value;
    if (!rate && !v->from && isnan(s->peak.value))
        FAIL(ARG, "--gpu: the dense %s peak of %s is not known; expected --peak-tflops, or --rate",
             dtype_name(s->base.step.o.t), s->device);
    if (!v->from && isnan(s->bandwidth.value))
        FAIL(ARG, "--gpu: the memory bandwidth of %s is not known; expected --memory-bandwidth", s->device);
    return STATUS_OK;
}

/* --- money and energy --- */

/* an hour of a device that is owned; where power is billed, with its share of the hosts that run beside the devices */
static double owned_usd_per_hour(const plan_setting *s, int devices) {
    const ledger_terms *t = &s->terms;
    double usd = money_owned_usd_per_hour(&t->owned);
    if (isnan(t->usd_per_kwh)) return usd;
    double hosts = ceil(devices / (double)s->base.m.net.per_node), pue = isnan(t->pue) ? 1 : t->pue;
    double host_watts = isnan(t->host_watts) ? 0 : hosts * t->host_watts / devices;
    return usd + money_power_usd_per_hour(s->watts.value + host_watts, pue, t->usd_per_kwh);
}

static bool is_owned(const plan_setting *s) { return !isnan(s->terms.owned.capex_usd); }

/* The price follows from the number of devices: see add_row. */
static status check_owned(plan_setting *s) {
    bool power = !isnan(s->terms.usd_per_kwh);
    if (power && isnan(s->watts.value))
        FAIL(ARG, "--kwh-price: the power of %s is not known; expected --tdp-watts", s->device);
    s->price.source =
        power ? "owned: --capex and the options with it; power: --kwh-price" : "owned: --capex and the options with it";
    return STATUS_OK;
}

static status read_costs(plan_setting *s, const plan_options *v, const options *o) {
    plan_request *r = &s->base;
    TRY(shared_options_bill(&s->terms, &v->bill, v->price, o));
    if (is_owned(s)) TRY(check_owned(s));
    r->memory_limit = s->limit.value;
    r->device_watts = s->watts.value;
    r->host_watts = s->terms.host_watts;
    r->pue = s->terms.pue;
    r->kg_co2_per_kwh = v->bill.grid ? s->terms.grid.kg_per_kwh : NAN;
    r->usd_per_device_hour = s->price.value;
    r->device_mtbf_hours = options_given(o, "mtbf-hours") ? v->mtbf_hours : NAN;
    const calibration *c = s->from;
    r->checkpoint_s =
        c && !isnan(c->checkpoint_s) && !options_given(o, "checkpoint-seconds") ? c->checkpoint_s : v->checkpoint_s;
    r->restart_s = c && !isnan(c->startup_s) && !options_given(o, "restart-seconds") ? c->startup_s : v->restart_s;
    return STATUS_OK;
}

/* --- rows --- */

enum { MOST_ROWS = 64 };

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

static status add_row(plan_request *rows, int *count, const plan_setting *s, int devices, shard_stage stage,
                      int replicas) {
    if (*count == MOST_ROWS) FAIL(ARG, "--devices, --shard: expected at most %d rows", MOST_ROWS);
    plan_request *r = &rows[(*count)++];
    *r = s->base;
    r->step.o.shard.ranks = devices;
    r->step.o.shard.stage = stage;
    r->step.o.shard.replicas = stage == SHARD_NONE ? 1 : replicas;
    int sharing = devices < r->m.net.per_node ? devices : r->m.net.per_node;
    if (s->shared_memory) r->memory_limit = s->limit.value / sharing;
    if (is_owned(s)) r->usd_per_device_hour = owned_usd_per_hour(s, devices);
    return plan_from_speed(r);
}

static bool ends_in_comma(const char *list) { return *list && list[strlen(list) - 1] == ','; }

static status fill_rows(plan_request *rows, int *count, const plan_options *v, const plan_setting *s) {
    char item[32];
    if (ends_in_comma(v->devices) || ends_in_comma(v->shard))
        FAIL(ARG, "--devices \"%s\", --shard \"%s\": nothing follows the last comma", v->devices, v->shard);
    for (const char *list = v->devices; next_item(&list, item, sizeof item);) {
        int devices = 0;
        TRY(read_devices(&devices, item));
        for (const char *stages = v->shard; next_item(&stages, item, sizeof item);) {
            shard_stage stage;
            TRY(read_stage(&stage, item));
            TRY(add_row(rows, count, s, devices, stage, (int)v->sharding.replicas));
        }
    }
    if (!*count) FAIL(ARG, "--devices \"%s\", --shard \"%s\": expected at least one each", v->devices, v->shard);
    return STATUS_OK;
}

status plan_options_rows(plan_request **rows, int *count, const plan_options *v, const plan_setting *s) {
    *count = 0;
    *rows = calloc(MOST_ROWS, sizeof **rows);
    if (!*rows) FAIL(MEM, "no memory for the rows");
    return fill_rows(*rows, count, v, s);
}

/* --- --from RUN --- */

/* what the run measured, for each device */
static void take_measured(plan_setting *s, const options *o) {
    const calibration *c = s->from;
    double ranks = (double)c->ranks;
    snprintf(s->from_source, sizeof s->from_source, "of the run %s", s->from_run);
    if (!options_given(o, "price") && !isnan(c->usd_per_hour))
        s->price = (plan_fact){c->usd_per_hour / ranks, s->from_source};
    if (!options_given(o, "tdp-watts") && !isnan(c->watts)) s->watts = (plan_fact){c->watts / ranks, s->from_source};
    if (isnan(s->peak.value) && !isnan(c->peak_measured))
        s->peak = (plan_fact){c->peak_measured / ranks, s->from_source};
}

/* Sets --gpu to the run's device. Where it is given, it must be that: another device has another speed. */
static status take_device(plan_options *v, const calibration *c, const options *o) {
    static char cpu[] = "cpu";
    const hardware *h = *c->isa ? NULL : hardware_find(DEVICE_CUDA, c->device);
    char *key = *c->isa ? cpu : h ? (char *)(uintptr_t)h->key : NULL;
    bool given = options_given(o, "gpu"), other = key ? strcasecmp(v->gpu, key) != 0 : strcasecmp(v->gpu, cpu) == 0;
    if (v->hardware && key == cpu)
        FAIL(ARG, "--from, --hardware: the run's device is this kind of CPU: %s; expected no --hardware", c->device);
    if (v->hardware) return STATUS_OK;
    if (given && other)
        FAIL(ARG, "--from, --gpu %s: the run's device is %s, and its speed is not that of another; expected %s%s",
             v->gpu, c->device, key ? "--gpu " : "--hardware", key ? key : "");
    if (!given && !key)
        FAIL(ARG, "--from: %s is not in the hardware table; expected --gpu or --hardware with it", c->device);
    if (!given) v->gpu = key;
    return STATUS_OK;
}

/* what the calibration does not tell of the run's step */
static status take_run_options(plan_options *v, const options *o) {
    const struct {
        const char *option, *key, *choices;
        int *value;
    } choices[] = {{"precision", "precision", CHOICES_TEXT(DTYPE_LIST), &v->dtypes.precision},
                   {"moments", "moments", CHOICES_TEXT(DTYPE_LIST), &v->dtypes.moments},
                   {"master", "master", CHOICES_TEXT(MASTER_LIST), &v->dtypes.master},
                   {"gather-dtype", "gather_dtype", CHOICES_TEXT(GATHER_LIST), &v->sharding.gather_dtype},
                   {"reduce-dtype", "reduce_dtype", CHOICES_TEXT(DTYPE_LIST), &v->sharding.reduce_dtype}};
    json_t *json;
    path_text path = path_join(v->from, "config.json");
    TRY(json_read_file(&json, path.text));
    status_code st = STATUS_OK;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        char text[32];
        if (options_given(o, choices[i].option)) continue;
        TRY_DONE(json_get_string(json, path.text, choices[i].key, text, sizeof text));
        *choices[i].value = options_choice(choices[i].choices, text);
        if (*choices[i].value < 0)
            FAIL_DONE(DATA, "%s: \"%s\" is \"%s\", expected %s", path.text, choices[i].key, text, choices[i].choices);
    }
    if (!options_given(o, "replicas") && !options_given(o, "devices"))
        TRY_DONE(json_get_i64(json, path.text, "replicas", &v->sharding.replicas));
    if (!options_given(o, "reduce-every-microbatch"))
        TRY_DONE(json_get_bool(json, path.text, "reduce_every_microbatch", &v->sharding.reduce_every_microbatch));
done:
    json_decref(json);
    return st;
}

status plan_options_from(plan_setting *s, plan_options *v, const options *o) {
    calibration *c = s->from = calloc(1, sizeof *c);
    if (!c) FAIL(MEM, "no memory for the run's calibration");
    TRY(calibration_read(c, v->from));
    s->from_run = v->from;
    snprintf(s->from_devices, sizeof s->from_devices, "%ld", c->ranks);
    if (!options_given(o, "model") && !options_given(o, "parameters")) v->model = c->model;
    if (!options_given(o, "batch")) v->batch = c->batch;
    if (!options_given(o, "seq-len")) v->seq_len = c->seq_len;
    if (!options_given(o, "accumulate")) v->accumulate = c->micro_batches;
    if (!options_given(o, "recompute")) v->recompute = c->recompute;
    if (!options_given(o, "devices")) v->devices = s->from_devices;
    if (!options_given(o, "shard")) v->shard = c->shard;
    TRY(take_run_options(v, o));
    TRY(take_device(v, c, o));
    if (*c->isa && options_given(o, "threads") && v->threads != c->threads)
        FAIL(ARG, "--threads %ld: the run of --from measured the speed of %ld; expected that, or a run with %ld",
             v->threads, c->threads, v->threads);
    if (*c->isa) v->threads = c->threads;
    return STATUS_OK;
}

static status read_first_row(plan_setting *s, const plan_options *v) {
    plan_request *rows;
    int count;
    status_code st = plan_options_rows(&rows, &count, v, s);
    if (!st) s->base = rows[0];
    if (!st && is_owned(s)) s->price.value = s->base.usd_per_device_hour;
    free(rows);
    return st;
}

status plan_options_read(plan_setting *s, const plan_options *v, const options *o) {
    s->base =
        (plan_request){.tokens = v->tokens, .m = {.net = {.per_node = (int)v->per_node}, .blocking = !v->overlap}};
    bool cpu = !v->hardware && strcasecmp(v->gpu, "cpu") == 0;
    if (v->hardware && options_given(o, "gpu")) FAIL(ARG, "--hardware, --gpu: expected one of them");
    if (cpu && !v->threads && strcmp(v->devices, "1") != 0)
        FAIL(ARG, "--gpu cpu, --devices \"%s\": expected --threads with it, those of each rank", v->devices);
    if (!cpu && options_given(o, "threads")) FAIL(ARG, "--threads: expected --gpu cpu with it");
    TRY(read_step(&s->base.step, v, o));
    if (s->from && v->model == s->from->model) s->base.step.c.V = s->from->vocabulary;
    TRY(cpu ? read_cpu(s, v, o) : read_gpu(s, v, o));
    s->base.from = s->from;
    if (s->from) take_measured(s, o);
    TRY(read_speed(s, v, o));
    TRY(read_costs(s, v, o));
    return read_first_row(s, v);
}

void plan_options_free(plan_setting *s) {
    device_close(s->cpu);
    free(s->from);
    hardware_read_free(&s->file);
}
