#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "runtime/gemm.h"
#include "runtime/nearest.h"
#include "runtime/rng.h"
#include "tools/bench.h"
#include "tools/commands.h"
#include "train/trainer.h"

#define AT(field) offsetof(bench_values, field)
/* clang-format off */
static const option table[] = {
    {"model", OPT_STRING, AT(model), "gpt2-124m", "NAME|PATH", "a preset or a Hugging Face config.json", NULL, 0, 0, "Step", false},
    {"batch", OPT_I64, AT(batch), "4", "B", "sequences of a micro-batch; also -B", NULL, 1, 1 << 20, "Step", false},
    {"seq-len", OPT_I64, AT(seq_len), "256", "T", "tokens of a sequence; also -T", NULL, 1, 1 << 20, "Step", false},
    {"accumulate", OPT_I64, AT(accumulate), "1", "N", "micro-batches a step", NULL, 1, 1 << 20, "Step", false},
    {"precision", OPT_CHOICE, AT(precision), "bf16", "KIND", "of weights and activations", "bf16|fp32", 0, 0, "Step", false},
    {"moments", OPT_CHOICE, AT(moments), "fp32", "KIND", "of Adam's moments", "fp32|bf16", 0, 0, "Step", false},
    {"master", OPT_CHOICE, AT(master), "fp32", "KIND", "master weights", "fp32|none", 0, 0, "Step", false},
    {"recompute", OPT_STRING, AT(recompute), "none", "POLICY", "step: none, selective, block or block:K", NULL, 0, 0, "Step", false},
    {"replicas", OPT_I64, AT(replicas), "1", "R", "shard: groups that each hold the whole model (with none every rank does)", NULL, 1, 1 << 20, "Ranks", false},
    {"gather-dtype", OPT_CHOICE, AT(gather), "auto", "KIND", "shard: in which weights travel; auto: their own", "auto|bf16", 0, 0, "Ranks", false},
    {"reduce-dtype", OPT_CHOICE, AT(reduce), "fp32", "KIND", "shard: in which gradients travel", "fp32|bf16", 0, 0, "Ranks", false},
    {"reduce-every-microbatch", OPT_FLAG, AT(reduce_every), "on", NULL, "shard: gradients and full reduce after each micro-batch; off: whole gradients stay, reduced once", NULL, 0, 0, "Ranks", false},
    {"comm-timeout", OPT_F64, AT(comm_timeout), "600", "S", "shard: how long a collective may wait without that anything comes", NULL, 0.1, 1e6, "Ranks", false},
    {"comm", OPT_CHOICE, AT(comm), "auto", "KIND", "shard: how GPUs exchange: nccl directly, staged through host memory (slow), auto: nccl where each rank has a GPU of its own", "auto|nccl|staged", 0, 0, "Ranks", false},
    {"steps", OPT_I64, AT(steps), "10", "N", "measured", NULL, 1, 1e6, "Measurement", false},
    {"warmup", OPT_I64, AT(warmup), "2", "N", "steps before", NULL, 1, 1e6, "Measurement", false},
    {"rounds", OPT_I64, AT(rounds), "3", "N", "recompute, shard, op: times that the policies, stages or operations take turns", NULL, 1, 1e6, "Measurement", false},
    {"peak-seconds", OPT_F64, AT(peak_seconds), "1", "S", "step: how long the rate of a large GEMM is measured, after the steps; 0: not at all", NULL, 0, 60, "Measurement", false},
    {"device", OPT_STRING, AT(device), "auto", "NAME", "auto, cpu, cuda or cuda:N", NULL, 0, 0, "Measurement", false},
    {"threads", OPT_I64, AT(threads), "0", "N", "CPU threads; 0: all that this process may use", NULL, 0, 1024, "Measurement", false},
    {"gemm-search", OPT_FLAG, AT(gemm_search), NULL, NULL, "GPU: time the library's algorithms for each shape of product at its first use", NULL, 0, 0, "Measurement", false},
    {"attention", OPT_CHOICE, AT(attention), "own", "KIND", "GPU: our own kernels, or cuDNN's in a build that has it", "own|cudnn", 0, 0, "Measurement", false},
    {"json", OPT_FLAG, AT(json), NULL, NULL, "print one JSON object", NULL, 0, 0, "Measurement", false},
    {"config", OPT_STRING, AT(config), NULL, "FILE", "JSON of these options ('-' as '_')", NULL, 0, 0, "Measurement", true},
    {"help", OPT_FLAG, AT(help), NULL, NULL, "this text", NULL, 0, 0, "Measurement", true},
};
/* clang-format on */

static const command_help help = {
    .usage = "tally bench step|recompute|shard|op [options]",
    .about = "step       one training step, optimizer included: tokens/s, FLOP/s, fraction of the peak that a large\n"
             "           product reaches in the same run, memory\n"
             "recompute  the recompute policies side by side: activation memory, step time, and whether their\n"
             "           gradients are the same bits\n"
             "shard      the sharding stages side by side, on the ranks it is started with: memory of a rank, bytes\n"
             "           sent, step time, time that the computation waited for communication\n"
             "op         the operations that move bytes, one by one at the model's shapes: bytes a second, and beside\n"
             "           what a copy of as many bytes reaches in the same run\n"
             "  tally bench step --model gpt2-124m -B 4 -T 256\n"
             "  mpirun -np 4 tally bench shard --model gpt2-124m -B 1 -T 256\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

/* The process's resident memory now, and its peak is counted anew from here; else that peak. 0: Linux alone tells. */
static uint64_t resident_memory(bool from_here) {
    char line[256];
    unsigned long kib = 0;
    if (from_here) {
        malloc_trim(0); /* what an earlier measurement has freed shall not count as there already */
        FILE *clear = fopen("/proc/self/clear_refs", "w");
        if (!clear) return 0;
        fputs("5", clear);
        if (fclose(clear) != 0) return 0;
    }
    FILE *f = fopen("/proc/self/status", "r");
    while (f && !kib && fgets(line, sizeof line, f)) sscanf(line, from_here ? "VmRSS: %lu" : "VmHWM: %lu", &kib);
    if (f) fclose(f);
    return (uint64_t)kib * 1024;
}

/* on a GPU what is taken of its memory: nothing is given back before the end */
static status resident_bytes(uint64_t *bytes, device *dev, bool from_here) {
    TRY(dev->ops->used(dev, bytes));
    if (dev->kind == DEVICE_CPU) *bytes = resident_memory(from_here);
    return STATUS_OK;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double median(const double *x, i64 n) {
    double *sorted = malloc((size_t)n * sizeof *sorted);
    if (!sorted) return x[0];
    memcpy(sorted, x, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    double m = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    free(sorted);
    return m;
}

/* where they are resident; 0 else */
static status crc_of_gradients(uint32_t *crc, const model *m) {
    enum { CHUNK = 1 << 18 };
    const parameters *s = &m->parameters;
    *crc = 0;
    if (!s->grads) return STATUS_OK;
    float *host = malloc(CHUNK * sizeof *host);
    if (!host) FAIL(MEM, "%zu bytes of gradients", CHUNK * sizeof *host);
    status_code st = STATUS_OK;
    for (i64 from = 0; !st && from < s->p.size; from += CHUNK) {
        size_t bytes = (size_t)(s->p.size - from < CHUNK ? s->p.size - from : CHUNK) * sizeof *host;
        st = m->dev->ops->copy(m->dev, host, s->grads + from, bytes);
        *crc = (uint32_t)crc32_z(*crc, (const unsigned char *)host, bytes);
    }
    free(host);
    return st;
}

static status queue_step(model *m, const step_args *a, const int32_t *tokens) {
    comm *world = m->parameters.o.shard.world;
    i64 n = m->s.B * m->s.T * a->micro_batches * (world ? world->ranks : 1);
    TRY(step_begin(m));
    for (i64 i = 0; i < a->micro_batches; i++)
        TRY(model_forward_backward(m, NULL, tokens, tokens + 1, (float)(1.0 / (double)n), i == 0,
                                   i + 1 == a->micro_batches));
    return step_update_weights(m, a);
}

/* behind all that is still under way */
static status spent(comm_totals *t, comm *world) {
    *t = (comm_totals){0};
    if (!world) return STATUS_OK;
    TRY(comm_barrier(world));
    TRY(comm_check(world));
    *t = comm_read_totals(world);
    return STATUS_OK;
}

/* All steps under way but so many. As in training, a GPU has always one step to go on with. */
static status collect_steps(bench_run *r, model *m, const bench_values *v, uint64_t but) {
    while (m->queued - m->collected > but) {
        step_result result;
        TRY(step_collect(m, &result));
        i64 step = (i64)m->collected - 1 - v->warmup;
        if (step >= 0) r->step_s[step] = result.seconds;
        r->loss = result.loss;
    }
    return STATUS_OK;
}

static status run_steps(bench_run *r, model *m, const bench_values *v, const int32_t *tokens, bool checksum) {
    comm *world = m->parameters.o.shard.world;
    device *dev = m->dev;
    comm_totals before = {0}, after;
    step_args a = {.lr = 1e-4,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = 1e-8,
                   .weight_decay = 0.1,
                   .clip = 1,
                   .micro_batches = v->accumulate};
    for (i64 i = 0; i < v->warmup + v->steps; i++) {
        flop_counter flops = dev->flops;
        if (i == v->warmup) {
            TRY(collect_steps(r, m, v, 0));
            TRY(spent(&before, world));
        }
        if (world) comm_set_step(world, (uint64_t)i + 1);
        TRY(queue_step(m, &a, tokens));
        for (int k = 0; k < WORK_KINDS; k++) r->flops.work[k] = dev->flops.work[k] - flops.work[k];
        TRY(collect_steps(r, m, v, dev->kind == DEVICE_CPU || i == 0 ? 0 : 1));
        if (i == 0 && checksum) TRY(crc_of_gradients(&r->gradient_crc32, m));
    }
    TRY(collect_steps(r, m, v, 0));
    TRY(spent(&after, world));
    uint64_t steps = (uint64_t)v->steps;
    r->comm = (comm_totals){.bytes_sent = (after.bytes_sent - before.bytes_sent) / steps,
                            .busy_ns = (after.busy_ns - before.busy_ns) / steps,
                            .waited_ns = (after.waited_ns - before.waited_ns) / steps};
    return STATUS_OK;
}

status bench_measure(bench_run *r, device *dev, const model_config *c, const bench_values *v, const char *recompute,
                     shard_options shard, bool checksum) {
    model m = {0};
    *r = (bench_run){.count = v->steps};
    status_code st = STATUS_OK;
    i64 n = v->batch * v->seq_len;
    model_shape s = {.B = v->batch, .T = v->seq_len};
    int32_t *tokens = malloc((size_t)(n + 1) * sizeof *tokens);
    r->step_s = malloc((size_t)v->steps * sizeof *r->step_s);
    if (!tokens || !r->step_s) FAIL_DONE(MEM, "%ld tokens", n);
    TRY_DONE(recompute_parse(&s.recompute, recompute, c->L));
    parameters_options precision = {.t = v->precision ? F32 : BF16,
                                    .master = v->master == 0,
                                    .moments = v->moments ? BF16 : F32,
                                    .training = true,
                                    .shard = shard};
    gemm_search(dev, v->gemm_search);
    TRY_DONE(attention_choose(dev, (attention_kind)v->attention));
    uint64_t resident, peak;
    TRY_DONE(resident_bytes(&resident, dev, true));
    TRY_DONE(model_init(&m, dev, c, s, precision));
    TRY_DONE(parameters_randomize(&m.parameters, 1));
    uint64_t seed = shard.world ? (uint64_t)shard.world->rank + 7 : 7;
    for (i64 i = 0; i <= n; i++) tokens[i] = (int32_t)rng_below(seed, RNG_ORDER, (uint64_t)i, (uint64_t)c->V);
    TRY_DONE(run_steps(r, &m, v, tokens, checksum));
    TRY_DONE(resident_bytes(&peak, dev, false));
    r->resident_bytes = resident && peak > resident ? peak - resident : 0;
    r->memory_bytes = m.memory.capacity + gemm_memory_bytes(dev) + dev->attention_bytes;
    r->activation_bytes = m.memory.bytes[MEM_ACTIVATIONS];
    for (int i = 0; i < MEM_CATEGORIES; i++) r->bytes[i] = m.memory.bytes[i];
    r->parameters = m.parameters.p.parameters;
done:
    model_free(&m);
    free(tokens);
    if (st) bench_run_free(r);
    return st;
}

void bench_run_free(bench_run *r) {
    free(r->step_s);
    r->step_s = NULL;
}

/* -B 4 and -T 256, as the field writes them */
static void spell_out(int argc, char **argv) {
    static char batch[] = "--batch", seq_len[] = "--seq-len";
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-B") == 0) argv[i] = batch;
        if (strcmp(argv[i], "-T") == 0) argv[i] = seq_len;
    }
}

static status bench(const options *o, const bench_values *v) {
    static const char *const names[] = {"step", "recompute", "shard", "op"};
    TRY(command_words(o, 1, 1, "benchmark: step, recompute, shard or op"));
    const char *name = o->words.list[0];
    if (strcmp(name, names[0]) == 0) return bench_step(v);
    if (strcmp(name, names[1]) == 0) return bench_recompute(v);
    if (strcmp(name, names[2]) == 0) return bench_shard(o, v);
    if (strcmp(name, names[3]) == 0) return bench_op(v);
    FAIL(ARG, "bench %s: no such benchmark; the nearest is %s", name, nearest_name(name, names, 4));
}

status command_bench(int argc, char **argv, int *exit_code) {
    options o = {0};
    bench_values v = {0};
    bool done;
    (void)exit_code;
    spell_out(argc, argv);
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = bench(&o, &v);
    options_free(&o);
    return st;
}
