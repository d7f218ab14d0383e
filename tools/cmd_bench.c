#include "layers/attention.h"
#include "runtime/nearest.h"
#include "tools/bench.h"
#include "tools/commands.h"

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
    {"comm", OPT_CHOICE, AT(comm), "auto", "KIND", "shard: how GPUs exchange: nccl directly, staged through host memory (slow), auto: nccl where each rank has a GPU of its own", CHOICES_TEXT(COMM_KIND_LIST), 0, 0, "Ranks", false},
    {"steps", OPT_I64, AT(steps), "10", "N", "measured", NULL, 1, 1e6, "Measurement", false},
    {"warmup", OPT_I64, AT(warmup), "2", "N", "steps before", NULL, 1, 1e6, "Measurement", false},
    {"rounds", OPT_I64, AT(rounds), "3", "N", "recompute, shard, op: times that the policies, stages or operations take turns", NULL, 1, 1e6, "Measurement", false},
    {"peak-seconds", OPT_F64, AT(peak_seconds), "1", "S", "step: how long the rate of a large GEMM is measured, after the steps; 0: not at all", NULL, 0, 60, "Measurement", false},
    {"device", OPT_STRING, AT(device), "auto", "NAME", "auto, cpu, cuda or cuda:N", NULL, 0, 0, "Measurement", false},
    {"threads", OPT_I64, AT(threads), "0", "N", "CPU threads; 0: all that this process may use", NULL, 0, 1024, "Measurement", false},
    {"gemm-search", OPT_FLAG, AT(gemm_search), NULL, NULL, "GPU: time the library's algorithms for each shape of product at its first use", NULL, 0, 0, "Measurement", false},
    {"attention", OPT_CHOICE, AT(attention), "own", "KIND", "GPU: our own kernels, or cuDNN's in a build that has it", CHOICES_TEXT(ATTENTION_KIND_LIST), 0, 0, "Measurement", false},
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
