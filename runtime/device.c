#include "runtime/device.h"

#include <stdlib.h>

#include "runtime/device_cpu.h"

status device_open(device **out, const char *text, int threads) {
    bool cuda = strncmp(text, "cuda", 4) == 0 && (text[4] == 0 || text[4] == ':');
    if (cuda) FAIL(ARG, "--device %s: this tally was built without CUDA; expected cpu or auto", text);
    if (strcmp(text, "cpu") != 0 && strcmp(text, "auto") != 0)
        FAIL(ARG, "--device %s: expected auto, cpu, cuda or cuda:N", text);
    device *dev = calloc(1, sizeof *dev);
    if (!dev) FAIL(MEM, "device");
    status_code st = device_open_cpu(dev, threads);
    if (st) {
        free(dev);
        return status_trace(st, __FILE__, __LINE__);
    }
    *out = dev;
    return STATUS_OK;
}

void device_close(device *dev) {
    if (!dev) return;
    dev->ops->close(dev);
    free(dev);
}

void device_recompute(device *dev, bool on) {
    dev->recomputing = on;
    if (dev->clock) meter_book(dev->clock, on ? BOOK_RECOMPUTE : BOOK_USEFUL);
}
