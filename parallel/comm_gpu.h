/* The communicator of ranks that all compute on GPUs: NCCL, or through host memory; see comm_open_device. Builds without CUDA
 * have comm_gpu_no_cuda.c instead of comm_gpu.c. */
#ifndef TALLY_COMM_GPU_H
#define TALLY_COMM_GPU_H

#include "parallel/comm.h"

status comm_gpu_open(comm **c, comm *host, device *dev, comm_kind kind);

#endif
