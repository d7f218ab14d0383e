#include "parallel/comm_gpu.h"

status comm_gpu_open(comm **c, comm *host, device *dev, comm_kind kind) {
    (void)c, (void)host, (void)kind;
    FAIL(DEVICE, "%s: this tally was built without CUDA", dev->name);
}
