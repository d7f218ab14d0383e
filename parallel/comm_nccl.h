/* A communicator for device memory over NCCL: see comm_open_device. staging_bytes: on the device, for f32 that
 * travels as bf16; at least 1 KiB a rank. */
#ifndef TALLY_COMM_NCCL_H
#define TALLY_COMM_NCCL_H

#include "parallel/comm.h"

status comm_nccl_find(void); /* DEVICE, with the reason, if its library cannot be loaded */
status comm_nccl_open(comm **c, comm *host, device *dev, size_t staging_bytes);

#endif
