/* Whether stored values are finite: neither infinite nor NaN. */
#ifndef TALLY_FINITE_H
#define TALLY_FINITE_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

/* x [n] of dtype t, in host memory */
bool finite_all(const void *x, dtype t, i64 n);

/* NUMERIC, with the name of the tensor, if a value is not finite. */
status finite_check(const char *name, const void *x, dtype t, i64 n);

/* Checks this rank's share of the weights in a folder (see tensor_set_open_model): tensor i belongs to rank i % ranks. */
status finite_model(bool *finite, const char *folder, int rank, int ranks);

#endif
