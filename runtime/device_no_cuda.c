/* device_cuda.h in builds without CUDA: no GPU is found, and opening one is an error. */
#include "runtime/device_cuda.h"

status device_cuda_is_there(bool *there) {
    *there = false;
    return STATUS_OK;
}

bool device_cuda_emulated(void) { return false; }

status device_cuda_open(device *dev, const char *text, int index, int gpu) {
    (void)dev, (void)index, (void)gpu;
    FAIL(ARG, "--device %s: this tally was built without CUDA; expected cpu or auto", text);
}

int device_cuda_list(char (*pci)[32], int most) {
    (void)pci, (void)most;
    return 0;
}

const char *device_cuda_pci(const device *dev) {
    (void)dev;
    return "";
}
