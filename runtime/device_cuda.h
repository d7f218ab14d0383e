/* The CUDA backend of device.h: one GPU. All kernels run on one stream, in the order of the calls. */
#ifndef TALLY_DEVICE_CUDA_H
#define TALLY_DEVICE_CUDA_H

#include "runtime/device.h"

/* Whether `auto` finds a GPU. A driver that is installed but fails is an error: the run would otherwise use the CPU while the
 * GPU is paid for. */
status device_cuda_is_there(bool *there);
bool device_cuda_emulated(void); /* whether this is a build for tests, which runs kernels on the CPU */
/* index: of the GPU; -1: number `gpu` modulo the number of GPUs */
status device_cuda_open(device *dev, const char *text, int index, int gpu);
int device_cuda_list(char (*pci)[32], int most); /* see device_gpus */
const char *device_cuda_pci(const device *dev);  /* bus id */

#endif
