/* Whether stored values can be computed with: none is infinite or NaN. */
#ifndef TALLY_FINITE_H
#define TALLY_FINITE_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

/* x [n] of dtype t, in host memory */
bool finite_all(const void *x, dtype t, i64 n);

/* NUMERIC, with the tensor's name, where finite_all does not hold. */
status finite_check(const char *name, const void *x, dtype t, i64 n);

/* The weights in a folder (see tensor_set_open_model): tensor number i of them is for rank i % ranks to look at. */
status finite_model(bool *finite, const char *folder, int rank, int ranks);

#endif
