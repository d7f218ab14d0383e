/* Checks that a memory plan fits before any of it is allocated. */
#ifndef TALLY_MEMORY_CHECK_H
#define TALLY_MEMORY_CHECK_H

#include "parallel/job.h"

/* bytes: what this rank will allocate on the device. The plans of all ranks that share a host's memory, or a GPU's, are added.
 * A sum above the limit (host.h) is an ARG error with both numbers, on all ranks. A sum above what is free without swapping is
 * a warning in the log: other processes may free memory soon. All ranks together. */
status memory_check_job(const job *j, device *dev, uint64_t bytes);

#endif
