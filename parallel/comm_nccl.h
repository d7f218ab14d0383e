/* A communicator of device memory over NCCL: see comm_open_device. staging_bytes: on the device, for what travels narrower
 * than it is; at least 1 KiB a rank. */
#ifndef TALLY_COMM_NCCL_H
#define TALLY_COMM_NCCL_H

#include "parallel/comm.h"

status comm_nccl_find(void); /* whether its library can be loaded here; if not, DEVICE and why */
status comm_nccl_open(comm **c, comm *host, device *dev, size_t staging_bytes);

#endif
