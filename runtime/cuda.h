/* Shared by the files of the CUDA backend, in C and in CUDA C. */
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

/* the device's time from begin to end, to be booked as `what` */
typedef struct {
    booking what;
    cudaEvent_t begin, end;
} cuda_span;

typedef struct {
    int index, multiprocessors, capability; /* capability: 80 for sm_80 */
    size_t shared_memory;                   /* bytes that a block may take */
    char pci[32];                           /* bus id, as in NVML */
    cudaStream_t compute;
    void *scratch; /* see cuda_scratch */
    char *staging; /* pinned: CUDA_UPLOADS pieces, then what was posted */
    cudaEvent_t uploaded[CUDA_UPLOADS], began;
    cudaEvent_t posted[CUDA_POSTS]; /* post n is [n % CUDA_POSTS]; post n - 1 stays until n is collected */
    cudaEvent_t since;              /* began or one of posted: the start of the next result's time */
    unsigned next_upload;
    cuda_span spans[CUDA_SPANS]; /* ring; [first_span, next_span) are not yet booked */
    uint64_t first_span, next_span, posted_spans[DEVICE_SLOTS];
} cuda_device;

static inline cuda_device *cuda_of(const device *dev) { return (cuda_device *)dev->native; }
static inline cudaStream_t cuda_stream(const device *dev) { return cuda_of(dev)->compute; }

/* Memory for one operation; the next operation on the stream may use the same. MEM if it is too small. */
status cuda_scratch(device *dev, void **memory, size_t bytes);

#define CUDA_TRY(call)                                                                                                 \
    do {                                                                                                               \
        cudaError_t error_ = (call);                                                                                   \
        if (error_ != cudaSuccess) FAIL(DEVICE, "%s: %s", #call, cudaGetErrorString(error_));                          \
    } while (0)

#endif
