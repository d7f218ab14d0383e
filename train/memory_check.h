/* Whether a plan fits into memory, before any of it is taken. */
#ifndef TALLY_MEMORY_CHECK_H
#define TALLY_MEMORY_CHECK_H

#include "parallel/job.h"
#include "train/model/model_config.h"

/* What the CPU's GEMM library takes for weights in layouts of its own: one copy for forward and one for backward, in the dtype
 * of its products. An upper bound, which GPT-2 124M comes close to. 0 on a GPU. */
uint64_t memory_check_packed_weights(const device *dev, const model_config *c, dtype t);

/* bytes: what this rank will take on the device. The plans of all ranks that share a host's memory, or a GPU's, are added up.
 * Above what can be had (host.h): an ARG error with both numbers, on all ranks. Above what is free without swapping: a
 * warning in the log, for what others use now may be free again soon. All ranks together. */
status memory_check_job(const job *j, device *dev, uint64_t bytes);

#endif
