/* The two halves behind gemm.h: gemm_cpu.c (oneDNN) and gemm_cuda.c (cuBLASLt). */
#ifndef TALLY_GEMM_BACKEND_H
#define TALLY_GEMM_BACKEND_H

#include "runtime/gemm.h"

HALVES(gemm);
HALVES(gemm_search);
HALVES(gemm_weights_changed);
HALVES(gemm_measure_peak);
HALVES(gemm_reserve);

/* device_open calls it; it fills dev->libraries[DEVICE_GEMM], which device_close closes */
status gemm_open(device *dev);
HALVES(gemm_open);

/* A dry device's library: it lays out what the library of that kind of device would keep, and computes nothing. */
status gemm_open_dry(device *dev);
status gemm_dry(device *dev, const gemm_args *g);

enum { GEMM_CUDA_BYTES = 64 << 20 }; /* CUDA: cuBLASLt's workspace, and the scratch of cuda.h */

/* n values for measurements */
void gemm_trial_values(void *x, dtype t, i64 n);

#endif
