/* The benchmarks behind `tally bench`: random tokens, a fixed learning rate, medians. */
#ifndef TALLY_BENCH_H
#define TALLY_BENCH_H

#include "runtime/options.h"
#include "train/step.h"

typedef struct {
    char *config, *model, *recompute, *device;
    i64 batch, seq_len, steps, warmup, threads, rounds, accumulate;
    int precision, moments, master;
    bool json, help;
} bench_values;

typedef struct {
    double *step_s; /* [count], malloc'ed */
    i64 count;
    double loss;
    flop_counter flops; /* of one step, as counted */
    uint64_t memory_bytes, activation_bytes;
    i64 parameters;
    uint32_t gradient_crc32; /* of the first step's gradients: the same bits or not */
} bench_run;

/* Builds the model, runs warmup + steps and takes it down again. */
status bench_measure(bench_run *r, device *dev, const model_config *c, const bench_values *v, const char *recompute);
void bench_run_free(bench_run *r);
double median(const double *x, i64 n);

status bench_step(const bench_values *v);
status bench_recompute(const bench_values *v);

#endif
