/* The arithmetic of collectives in host memory, on one thread. */
#ifndef TALLY_COMM_MATH_H
#define TALLY_COMM_MATH_H

#include <stdbool.h>

#include "runtime/tensor.h"

/* to [count] = or += (accumulate) the sum over r < ranks of terms[r] [count], in f32 and in the order of r. terms[own] is
 * f32 and is rounded to wire first; the others have dtype wire. to may be terms[own]. */
void comm_math_sum(float *to, const void *const *terms, int ranks, int own, dtype wire, i64 count, bool accumulate);

void comm_math_narrow(bf16 *to, const float *from, i64 count);
void comm_math_widen(float *to, const bf16 *from, i64 count);

#endif
