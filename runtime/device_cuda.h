/* The CUDA backend of device.h: one GPU, whose kernels all go to one stream, in the order in which they are called. */
#ifndef TALLY_DEVICE_CUDA_H
#define TALLY_DEVICE_CUDA_H

#include "runtime/device.h"

int device_cuda_count(void);     /* GPUs that the driver shows; 0 also without a driver */
bool device_cuda_emulated(void); /* kernels run on the CPU: a build for tests */
/* index: -1 for that of the local rank */
status device_open_cuda(device *dev, const char *text, int index, int local_rank);
const char *device_cuda_pci(const device *dev); /* bus id */

#endif
