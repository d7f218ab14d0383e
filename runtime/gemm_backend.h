/* The two halves behind gemm.h: gemm_cpu.c (oneDNN) and gemm_cuda.c (cuBLASLt). Each device opens its own. */
#ifndef TALLY_GEMM_BACKEND_H
#define TALLY_GEMM_BACKEND_H

#include "runtime/gemm.h"

HALVES(gemm);
HALVES(gemm_search);
HALVES(gemm_weights_changed);
HALVES(gemm_memory_bytes);
HALVES(gemm_measure_peak);

status gemm_open_cpu(device *dev);
void gemm_close_cpu(device *dev);
status gemm_open_cuda(device *dev);
void gemm_close_cuda(device *dev);

/* n values to measure with */
void gemm_trial_values(void *x, dtype t, i64 n);

#endif
