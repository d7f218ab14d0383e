/* comm_nccl.h in builds without NCCL */
#include "parallel/comm_nccl.h"

status comm_nccl_find(void) { FAIL(DEVICE, "this tally was built without NCCL"); }

status comm_nccl_open(comm **c, comm *host, device *dev, size_t staging_bytes) {
    (void)c, (void)host, (void)dev, (void)staging_bytes;
    return comm_nccl_find();
}
