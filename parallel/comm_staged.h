/* A communicator for device memory through host memory: see comm_open_device. staging_bytes: size of each of
 * two host buffers. */
#ifndef TALLY_COMM_STAGED_H
#define TALLY_COMM_STAGED_H

#include "parallel/comm.h"

status comm_staged_open(comm **c, comm *host, device *dev, size_t staging_bytes);

#endif
