/* What the files of the CUDA backend share: C and CUDA C include it. */
#ifndef TALLY_CUDA_H
#define TALLY_CUDA_H

#include <cuda_runtime_api.h>

#include "runtime/device.h"

enum {
    CUDA_SCRATCH_BYTES = 32 << 20,
    CUDA_UPLOADS = 8,
    CUDA_UPLOAD_BYTES = 1 << 20,
    CUDA_SPANS = 1024,
    CUDA_POSTS = DEVICE_SLOTS + 1
};

/* what the device's own clock measures: from begin to end, booked as `what` */
typedef struct {
    booking what;
    cudaEvent_t begin, end;
} cuda_span;

typedef struct {
    int index, multiprocessors, capability; /* capability: 80 for sm_80 */
    size_t shared_memory;                   /* bytes that a block may take */
    char pci[32];                           /* bus id, by which NVML knows the GPU */
    cudaStream_t compute;
    void *scratch; /* of the operation that runs: cuda_scratch */
    char *staging; /* pinned: CUDA_UPLOADS pieces, then what was posted */
    cudaEvent_t uploaded[CUDA_UPLOADS], began;
    cudaEvent_t posted[CUDA_POSTS]; /* post number n is [n % CUDA_POSTS]: the one before stays until n is collected */
    cudaEvent_t since;              /* one of these: from when the next to be collected counts */
    unsigned next_upload;
    cuda_span spans[CUDA_SPANS]; /* a ring: [first_span, next_span) are open or not yet booked */
    uint64_t first_span, next_span, posted_spans[DEVICE_SLOTS];
} cuda_device;

static inline cuda_device *cuda_of(const device *dev) { return (cuda_device *)dev->native; }
static inline cudaStream_t cuda_stream(const device *dev) { return cuda_of(dev)->compute; }

/* Memory for one operation: whatever runs next on the stream may take it too. MEM where it is not enough. */
status cuda_scratch(device *dev, void **memory, size_t bytes);

#define CUDA_TRY(call)                                                                                                 \
    do {                                                                                                               \
        cudaError_t error_ = (call);                                                                                   \
        if (error_ != cudaSuccess) FAIL(DEVICE, "%s: %s", #call, cudaGetErrorString(error_));                          \
    } while (0)

#endif
