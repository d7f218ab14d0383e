/* Whether a plan fits into memory, before any of it is taken. */
#ifndef TALLY_ROOM_H
#define TALLY_ROOM_H

#include "train/job.h"

/* bytes: what this rank will take on the device. The plans of all ranks that share a host's memory, or a GPU's, are added up.
 * Above what can be had (host.h): an ARG error with both numbers, on all ranks. Above what is free without swapping: a
 * warning in the log, for what others use now may be free again soon. All ranks together. */
status room_check(const job *j, device *dev, uint64_t bytes);

#endif
