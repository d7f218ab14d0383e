/* The two halves behind gemm.h: gemm_cpu.c (oneDNN) and gemm_cuda.c (cuBLASLt). Each device opens its own. */
#ifndef TALLY_GEMM_BACKEND_H
#define TALLY_GEMM_BACKEND_H

#include "runtime/gemm.h"

status gemm_cpu(device *dev, const gemm_args *g);
status gemm_measure_peak_cpu(device *dev, dtype t, double seconds, double *flops_per_s);
void gemm_weights_changed_cpu(device *dev);
size_t gemm_memory_bytes_cpu(const device *dev);
status gemm_open_cpu(device *dev);
void gemm_close_cpu(device *dev);

status gemm_cuda(device *dev, const gemm_args *g);
status gemm_measure_peak_cuda(device *dev, dtype t, double seconds, double *flops_per_s);
void gemm_search_cuda(device *dev, bool on);
size_t gemm_memory_bytes_cuda(const device *dev);
status gemm_open_cuda(device *dev);
void gemm_close_cuda(device *dev);

/* n values to measure with */
void gemm_trial_values(void *x, dtype t, i64 n);

#endif
