/* A communicator of any number of ranks without the others: collectives are complete at once and move nothing. For dry runs
 * (runtime/device_dry.h). This process is rank 0. */
#ifndef TALLY_COMM_DRY_H
#define TALLY_COMM_DRY_H

#include "parallel/comm.h"

/* pieces: how many consecutive ranks share a model (fsdp.h). The split into groups of so many comes first, if there is one, then
 * that into replicas, in the order of the sharding engine. */
status comm_dry_open(comm **c, int ranks, int pieces);

#endif
