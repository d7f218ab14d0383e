#include "runtime/device.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/device_cpu.h"
#include "runtime/device_cuda.h"
#include "runtime/gemm_backend.h"
#include "runtime/range.h"

/* index: -1 if the text has none */
static status parse_cuda(const char *text, int *index) {
    char rest;
    *index = -1;
    if (strcmp(text, "cuda") == 0 || strcmp(text, "auto") == 0) return STATUS_OK;
    if (sscanf(text, "cuda:%d%c", index, &rest) != 1 || *index < 0)
        FAIL(ARG, "--device %s: expected auto, cpu, cuda or cuda:N", text);
    return STATUS_OK;
}

static status open_cuda(device *dev, const char *text, int gpu) {
    int index;
    TRY(parse_cuda(text, &index));
    return device_cuda_open(dev, text, index, gpu);
}

static status choose(bool *cuda, const char *text) {
    *cuda = strncmp(text, "cuda", 4) == 0;
    if (*cuda || strcmp(text, "cpu") == 0) return STATUS_OK;
    if (strcmp(text, "auto") != 0) FAIL(ARG, "--device %s: expected auto, cpu, cuda or cuda:N", text);
    if (!device_cuda_emulated()) TRY(device_cuda_is_there(cuda));
    return STATUS_OK;
}

status device_open(device **out, const char *text, int threads, int gpu) {
    bool cuda;
    TRY(choose(&cuda, text));
    device *dev = calloc(1, sizeof *dev);
    if (!dev) FAIL(MEM, "no memory for a device");
    status_code st = cuda ? open_cuda(dev, text, gpu) : device_cpu_open(dev, threads);
    if (st) {
        free(dev);
        return status_trace(st, __FILE__, __LINE__);
    }
    st = gemm_open(dev);
    if (st) {
        device_close(dev);
        return status_trace(st, __FILE__, __LINE__);
    }
    *out = dev;
    return STATUS_OK;
}

int device_gpus(const char *text, int *index, char (*pci)[32], int most) {
    bool cuda;
    *index = -1;
    if (choose(&cuda, text) != STATUS_OK || !cuda || parse_cuda(text, index) != STATUS_OK) return 0;
    return device_cuda_list(pci, most);
}

void device_close(device *dev) {
    if (!dev) return;
    for (int i = 0; i < DEVICE_LIBRARIES; i++)
        if (dev->libraries[i].close) dev->libraries[i].close(dev);
    dev->ops->close(dev);
    free(dev);
}

const char *device_pci(const device *dev) { return dev->kind == DEVICE_CUDA ? device_cuda_pci(dev) : ""; }

status device_recompute(device *dev, bool on) {
    dev->recomputing = on;
    if (on) range_begin("recompute", RANGE_PLAIN);
    else range_end();
    return dev->clock ? dev->ops->span(dev, BOOK_RECOMPUTE, on) : STATUS_OK;
}
