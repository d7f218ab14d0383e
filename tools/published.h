/* Throughput of training that MosaicML has published, and its MFU computed again by tally's own functions.
 *
 * Source: mosaicml/llm-foundry, scripts/train/benchmarking/README.md, 2024. MFU there is (6N + 12 L d T) x tokens/s / peak, N all
 * parameters (PaLM's convention); HFU with full activation checkpointing is 4/3 of it: one more forward. */
#ifndef TALLY_PUBLISHED_H
#define TALLY_PUBLISHED_H

#include <stdbool.h>

#include "runtime/choices.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

/* keys of the hardware table, and names of precisions as the source has them */
#define PUBLISHED_GPU_LIST(X)                                                                                          \
    X(PUBLISHED_H100, "h100") X(PUBLISHED_A100_80, "a100-80gb") X(PUBLISHED_A100_40, "a100-40gb")
#define PUBLISHED_PRECISION_LIST(X)                                                                                    \
    X(PUBLISHED_AMP_BF16, "amp_bf16") X(PUBLISHED_PURE_BF16, "bf16") X(PUBLISHED_AMP_FP8, "amp_fp8")
typedef enum { PUBLISHED_GPU_LIST(CHOICES_VALUE) } published_gpu;
typedef enum { PUBLISHED_PRECISION_LIST(CHOICES_VALUE) } published_precision;

typedef struct {
    const char *model;
    i64 layers, d_model, parameters, seq_len, gpus;
    published_gpu gpu;
    published_precision precision;
    bool checkpointing;  /* full: every block is recomputed */
    double tokens_per_s; /* of one GPU */
    double mfu_percent, hfu_percent;
} published_row;

typedef struct {
    double mfu_percent, hfu_percent; /* ours */
    double error;                    /* the larger relative difference of the two */
} published_result;

#define PUBLISHED_TOLERANCE 0.005 /* tokens/s have 3 digits and more */

const published_row *published_list(int *count);
/* With the dense peak of tally's hardware table at the row's precision. ARG: the table has none. */
status published_compute(published_result *r, const published_row *row);
const char *published_gpu_key(published_gpu gpu);
const char *published_precision_name(published_precision precision);

#endif
