/* The two halves behind gemm.h: gemm_cpu.c (oneDNN) and gemm_cuda.c (cuBLASLt). */
#ifndef TALLY_GEMM_BACKEND_H
#define TALLY_GEMM_BACKEND_H

#include "runtime/gemm.h"

HALVES(gemm);
HALVES(gemm_search);
HALVES(gemm_weights_changed);
HALVES(gemm_measure_peak);

/* device_open calls it; it fills dev->libraries[DEVICE_GEMM], which device_close closes */
status gemm_open(device *dev);
HALVES(gemm_open);

/* n values for measurements */
void gemm_trial_values(void *x, dtype t, i64 n);

#endif
