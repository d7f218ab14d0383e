/* The arithmetic of collectives between GPUs, on a given stream. Every element is read once and written once.
 *   narrow  to [rows,count] bf16 = from [rows,count] f32, rounded to nearest
 *   widen   to [rows,count] f32 = from [rows,count] bf16
 *   sum     to [count] f32 = or += (accumulate) the sum of the rows of from [rows,count] bf16, in f32 and in their order
 *   add     to [count] f32 += from [count] f32
 * Rows begin every to_row and from_row elements. */
#ifndef TALLY_COMM_MATH_CUDA_H
#define TALLY_COMM_MATH_CUDA_H

#include <cuda_runtime_api.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

status comm_math_narrow_cuda(cudaStream_t stream, bf16 *to, i64 to_row, const float *from, i64 from_row, int rows,
                             i64 count);
status comm_math_widen_cuda(cudaStream_t stream, float *to, i64 to_row, const bf16 *from, i64 from_row, int rows,
                            i64 count);
status comm_math_sum_cuda(cudaStream_t stream, float *to, const bf16 *from, i64 from_row, int rows, i64 count,
                          bool accumulate);
status comm_math_add_cuda(cudaStream_t stream, float *to, const float *from, i64 count);

#endif
