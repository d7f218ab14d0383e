/* The CUDA backend of device.h: one GPU, whose kernels all go to one stream, in the order in which they are called. */
#ifndef TALLY_DEVICE_CUDA_H
#define TALLY_DEVICE_CUDA_H

#include "runtime/device.h"

/* Whether there is a GPU to choose for `auto`. A driver that is there and does not work is an error: a run on the CPU in the
 * place of a GPU that is paid for is nobody's wish. */
status device_cuda_is_there(bool *there);
bool device_cuda_emulated(void); /* kernels run on the CPU: a build for tests */
/* index: -1 for that of the local rank */
status device_cuda_open(device *dev, const char *text, int index, int local_rank);
const char *device_cuda_pci(const device *dev); /* bus id */

#endif
