#include "parallel/job.h"
#include "runtime/nearest.h"
#include "tools/bench.h"
#include "tools/command.h"

#define AT(member) OPTION_AT(bench_values, member)
static const option table[] = {
    {AT(model), .group = "Model and step", OPTION_MODEL, .default_text = "gpt2-124m"},
    {AT(batch), OPTION_BATCH " (short: -B)", .default_text = "4"},
    {AT(seq_len), OPTION_SEQ_LEN " (short: -T)", .default_text = "256"},
    {AT(accumulate), OPTION_ACCUMULATE(1 << 20)},
    {AT(dtypes.precision), OPTION_PRECISION},
    {AT(dtypes.moments), OPTION_MOMENTS},
    {AT(dtypes.master), OPTION_MASTER},
    {AT(recompute), OPTION_RECOMPUTE "; `bench recompute` measures none, selective and block whatever is given here"},

    {AT(sharding.replicas), .group = OPTION_GROUP_RANKS ": for `bench shard` only", OPTION_REPLICAS},
    {AT(sharding.gather_dtype), OPTION_GATHER_DTYPE},
    {AT(sharding.reduce_dtype), OPTION_REDUCE_DTYPE},
    {AT(sharding.reduce_every_microbatch), OPTION_REDUCE_EVERY_MICROBATCH},
    {AT(comm_timeout), OPTION_COMM_TIMEOUT(0.1)},
    {AT(comm), OPTION_COMM},

    {AT(steps), .group = "Measurement", .name = "steps", .argument = "N", .default_text = "10", .min = 1, .max = 1e6,
     .help = "training steps to measure, in each of the --rounds; `bench op` takes as many samples of each operation"},
    {AT(warmup), .name = "warmup", .argument = "N", .default_text = "2", .min = 1, .max = 1e6,
     .help = "training steps to run before those that are measured"},
    {AT(rounds), .name = "rounds", .argument = "N", .default_text = "3", .min = 1, .max = 1e6,
     .help =
         "rounds of `bench recompute`, `shard` and `op`: each round measures every policy, stage or operation once"},
    {AT(peak_seconds), OPTION_PEAK_SECONDS "; `bench step` measures it after the steps, the others do not",
     .default_text = "1"},
    {AT(device), OPTION_DEVICE},
    {AT(threads), OPTION_THREADS},
    {AT(gemm_search), OPTION_GEMM_SEARCH},
    {AT(attention), OPTION_ATTENTION},
    {AT(json), OPTION_JSON},
    {AT(config), OPTION_CONFIG},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally bench step|recompute|shard|op [options]",
    .about = "Measures training on random tokens, on this machine.\n"
             "  step       one training step, optimizer included: tokens/s, FLOP/s, FLOP/s as a fraction of what a\n"
             "             large GEMM reaches in the same run, memory\n"
             "  recompute  compares the recompute policies: activation memory, step time, and whether their gradients\n"
             "             are bitwise equal\n"
             "  shard      compares the sharding stages, on the ranks that mpirun starts: memory and bytes sent of a\n"
             "             rank, step time, time in which the computation waited for communication\n"
             "  op         times each operation that is bound by memory, at the model's shapes: bytes/s, and the\n"
             "             bytes/s of a copy of as many bytes in the same run\n\n"
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

/* *ranks: false for a benchmark that one process runs alone, also under mpirun */
static status bench(const options *o, const bench_values *v, bool *ranks) {
    static const char *const names[] = {"step", "recompute", "shard", "op"};
    TRY(command_words(o, 1, 1, "benchmark: step, recompute, shard or op"));
    const char *name = o->words.list[0];
    *ranks = strcmp(name, names[2]) == 0;
    if (strcmp(name, names[0]) == 0) return bench_step(v);
    if (strcmp(name, names[1]) == 0) return bench_recompute(v);
    if (strcmp(name, names[2]) == 0) return bench_shard(o, v);
    if (strcmp(name, names[3]) == 0) return bench_op(v);
    FAIL(ARG, "bench %s: no such benchmark; the nearest is %s", name, nearest_name(name, names, 4));
}

status command_bench(int argc, char **argv, int *exit_code) {
    options o = {0};
    bench_values v = {0};
    bool done, ranks = true;
    (void)exit_code;
    spell_out(argc, argv);
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = bench(&o, &v, &ranks);
    if (st && ranks) job_refuse(st);
    options_free(&o);
    return st;
}
