/* The benchmarks behind `tally bench`: random tokens, a fixed learning rate, medians. */
#ifndef TALLY_BENCH_H
#define TALLY_BENCH_H

#include "tools/shared_options.h"
#include "train/step.h"

typedef struct {
    char *config, *model, *recompute, *device;
    i64 batch, seq_len, steps, warmup, threads, rounds, accumulate;
    dtype_options dtypes;
    sharding_options sharding;
    int comm, attention;
    double comm_timeout, peak_seconds;
    bool gemm_search, json, help;
} bench_values;

typedef struct {
    double *step_s; /* [count], malloc'ed */
    i64 count;
    double loss;
    flop_counter flops; /* of one step, from the counters */
    uint64_t memory_bytes, activation_bytes;
    uint64_t bytes[MEM_CATEGORIES]; /* planned, by category: step_memory */
    uint64_t resident_bytes;        /* growth of the process, at its peak; 0: unknown */
    comm_totals comm;               /* of one step of this rank, mean over the measured steps */
    i64 parameters;
    uint32_t gradient_crc32; /* of the first step's gradients, if asked for: to compare them bit by bit */
} bench_run;

/* Builds the model, runs warm-up and measured steps, and frees it. Collective over shard.world. checksum: compute
 * gradient_crc32, for which all gradients are copied to the host once. */
status bench_measure(bench_run *r, device *dev, const model_config *c, const bench_values *v, const char *recompute,
                     shard_options how, bool checksum);
uint64_t bench_planned_bytes(const bench_run *r); /* the sum of r->bytes */
void bench_run_free(bench_run *r);
double bench_median(const double *x, i64 n);

status bench_step(const bench_values *v);
status bench_recompute(const bench_values *v);
status bench_shard(const options *o, const bench_values *v);
status bench_op(const bench_values *v);

#endif
