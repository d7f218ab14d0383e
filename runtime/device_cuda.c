#include "runtime/device_cuda.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/cuda.h"

enum { OLDEST = 80 }; /* sm_80: bf16 on the tensor cores */

status device_cuda_is_there(bool *there) {
    int count = 0, driver = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    *there = error == cudaSuccess && count > 0;
    if (error == cudaSuccess || error == cudaErrorNoDevice) return STATUS_OK;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) return STATUS_OK;
    FAIL(DEVICE, "--device auto: the GPU driver fails: %s; use --device cpu to run without a GPU",
         cudaGetErrorString(error));
}

bool device_cuda_emulated(void) {
#ifdef TALLY_CUDA_EMULATED
    return true;
#else
    return false;
#endif
}

status cuda_scratch(device *dev, void **memory, size_t bytes) {
    if (bytes > CUDA_SCRATCH_BYTES)
        FAIL(MEM, "an operation needs %zu bytes of scratch, expected at most %d", bytes, CUDA_SCRATCH_BYTES);
    *memory = cuda_of(dev)->scratch;
    return STATUS_OK;
}

const char *device_cuda_pci(const device *dev) { return cuda_of(dev)->pci; }

/* --- memory --- */

static status cuda_alloc(device *dev, void **memory, size_t bytes) {
    cudaError_t error = cudaMalloc(memory, bytes ? bytes : 1);
    if (error == cudaErrorMemoryAllocation) {
        size_t left = 0, all = 0;
        (void)cudaGetLastError();
        CUDA_TRY(cudaMemGetInfo(&left, &all));
        FAIL(MEM, "%s: cannot allocate %zu bytes; %zu of its %zu are free", dev->name, bytes, left, all);
    }
    CUDA_TRY(error);
    CUDA_TRY(cudaMemsetAsync(*memory, 0, bytes ? bytes : 1, cuda_stream(dev)));
    CUDA_TRY(cudaStreamSynchronize(cuda_stream(dev)));
    return STATUS_OK;
}

static void cuda_free(device *dev, void *memory, size_t bytes) {
    (void)dev, (void)bytes;
    (void)cudaFree(memory);
}

static status cuda_zero(device *dev, void *memory, size_t bytes) {
    CUDA_TRY(cudaMemsetAsync(memory, 0, bytes, cuda_stream(dev)));
    return STATUS_OK;
}

static status cuda_copy(device *dev, void *to, const void *from, size_t bytes) {
    CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cuda_stream(dev)));
    CUDA_TRY(cudaStreamSynchronize(cuda_stream(dev)));
    return STATUS_OK;
}

/* Through a ring of pinned pieces. It uses the compute stream: a micro-batch's tokens take microseconds, and the stream's order
 * makes events unnecessary. */
static status cuda_upload(device *dev, void *to, const void *from, size_t bytes) {
    cuda_device *c = cuda_of(dev);
    for (size_t done = 0, n; done < bytes; done += n) {
        n = bytes - done < CUDA_UPLOAD_BYTES ? bytes - done : CUDA_UPLOAD_BYTES;
        unsigned i = c->next_upload++ % CUDA_UPLOADS;
        char *piece = c->staging + (size_t)i * CUDA_UPLOAD_BYTES;
        CUDA_TRY(cudaEventSynchronize(c->uploaded[i]));
        memcpy(piece, (const char *)from + done, n);
        CUDA_TRY(cudaMemcpyAsync((char *)to + done, piece, n, cudaMemcpyHostToDevice, c->compute));
        CUDA_TRY(cudaEventRecord(c->uploaded[i], c->compute));
    }
    return STATUS_OK;
}

static status cuda_copy_rows(device *dev, void *to, size_t to_stride, const void *from, size_t from_stride,
                             size_t row_bytes, i64 rows) {
    CUDA_TRY(cudaMemcpy2DAsync(to, to_stride, from, from_stride, row_bytes, (size_t)rows, cudaMemcpyDeviceToDevice,
                               cuda_stream(dev)));
    return STATUS_OK;
}

/* --- results, read late --- */

static void *slot_memory(const cuda_device *c, int slot) {
    return c->staging + (size_t)CUDA_UPLOADS * CUDA_UPLOAD_BYTES + (size_t)slot * DEVICE_SLOT_BYTES;
}

static status cuda_begin(device *dev) {
    cuda_device *c = cuda_of(dev);
    CUDA_TRY(cudaEventRecord(c->began, c->compute));
    c->since = c->began;
    return STATUS_OK;
}

static status cuda_post(device *dev, const void *from, size_t bytes) {
    cuda_device *c = cuda_of(dev);
    int slot = (int)(dev->posts % DEVICE_SLOTS);
    CUDA_TRY(cudaMemcpyAsync(slot_memory(c, slot), from, bytes, cudaMemcpyDeviceToHost, c->compute));
    CUDA_TRY(cudaEventRecord(c->posted[dev->posts % CUDA_POSTS], c->compute));
    c->posted_spans[slot] = c->next_span;
    dev->posts++;
    return STATUS_OK;
}

/* Books the oldest span; its end has been recorded. */
static status book_span(device *dev) {
    cuda_device *c = cuda_of(dev);
    cuda_span *s = &c->spans[c->first_span++ % CUDA_SPANS];
    float ms;
    CUDA_TRY(cudaEventSynchronize(s->end));
    CUDA_TRY(cudaEventElapsedTime(&ms, s->begin, s->end));
    if (!dev->clock) return STATUS_OK;
    meter_settle(dev->clock);
    meter_move(dev->clock, BOOK_USEFUL, s->what, (uint64_t)((double)ms * 1e6));
    return STATUS_OK;
}

static status cuda_collect(device *dev, void *to, size_t bytes, uint64_t *ns) {
    cuda_device *c = cuda_of(dev);
    int slot = (int)(dev->collects % DEVICE_SLOTS);
    cudaEvent_t done = c->posted[dev->collects % CUDA_POSTS];
    float ms = 0;
    CUDA_TRY(cudaEventSynchronize(done));
    if (c->since) CUDA_TRY(cudaEventElapsedTime(&ms, c->since, done));
    *ns = (uint64_t)((double)ms * 1e6);
    c->since = done;
    dev->collects++;
    memcpy(to, slot_memory(c, slot), bytes);
    while (c->first_span < c->posted_spans[slot]) TRY(book_span(dev));
    return STATUS_OK;
}

static status cuda_span_mark(device *dev, booking what, bool begin) {
    cuda_device *c = cuda_of(dev);
    cuda_span *s = &c->spans[c->next_span % CUDA_SPANS];
    if (!begin) {
        CUDA_TRY(cudaEventRecord(s->end, c->compute));
        c->next_span++;
        return STATUS_OK;
    }
    if (c->next_span - c->first_span == CUDA_SPANS) TRY(book_span(dev));
    s->what = what;
    CUDA_TRY(cudaEventRecord(s->begin, c->compute));
    return STATUS_OK;
}

static status cuda_used(device *dev, uint64_t *bytes) {
    size_t left, all;
    (void)dev;
    CUDA_TRY(cudaMemGetInfo(&left, &all));
    *bytes = all - left;
    return STATUS_OK;
}

static status cuda_room(device *dev, host_room *r) {
    size_t left, all;
    CUDA_TRY(cudaMemGetInfo(&left, &all));
    *r = (host_room){.left = left, .limit = all};
    snprintf(r->what, sizeof r->what, "%s", dev->name);
    return STATUS_OK;
}

static status cuda_synchronize(device *dev) {
    CUDA_TRY(cudaStreamSynchronize(cuda_stream(dev)));
    return STATUS_OK;
}

/* --- opening and closing --- */

static void cuda_close(device *dev) {
    cuda_device *c = cuda_of(dev);
    if (!c) return;
    if (c->compute) (void)cudaStreamSynchronize(c->compute);
    for (int i = 0; i < CUDA_UPLOADS; i++)
        if (c->uploaded[i]) (void)cudaEventDestroy(c->uploaded[i]);
    for (int i = 0; i < CUDA_POSTS; i++)
        if (c->posted[i]) (void)cudaEventDestroy(c->posted[i]);
    if (c->began) (void)cudaEventDestroy(c->began);
    for (int i = 0; i < CUDA_SPANS; i++) {
        if (c->spans[i].begin) (void)cudaEventDestroy(c->spans[i].begin);
        if (c->spans[i].end) (void)cudaEventDestroy(c->spans[i].end);
    }
    (void)cudaFree(c->scratch);
    if (c->staging) (void)cudaFreeHost(c->staging);
    if (c->compute) (void)cudaStreamDestroy(c->compute);
    free(c);
    dev->native = NULL;
}

static const device_ops cuda_ops = {
    .alloc = cuda_alloc,
    .free = cuda_free,
    .zero = cuda_zero,
    .copy = cuda_copy,
    .upload = cuda_upload,
    .copy_rows = cuda_copy_rows,
    .begin = cuda_begin,
    .post = cuda_post,
    .collect = cuda_collect,
    .span = cuda_span_mark,
    .used = cuda_used,
    .room = cuda_room,
    .synchronize = cuda_synchronize,
    .close = cuda_close,
};

int device_cuda_list(char (*pci)[32], int most) {
    int count = 0, known = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        (void)cudaGetLastError(); /* device_cuda_open gets it again, and reports it */
        return 0;
    }
    while (known < count && known < most && cudaDeviceGetPCIBusId(pci[known], 32, known) == cudaSuccess) known++;
    return known == count ? count : 0;
}

/* Reports why there is no GPU in the words of the driver. */
static status find_gpu(const char *text, int *index, int gpu) {
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) FAIL(ARG, "--device %s: %s", text, cudaGetErrorString(error));
    if (count == 0) FAIL(ARG, "--device %s: no GPU here", text);
    if (*index >= count)
        FAIL(ARG, "--device %s: this process sees %d GPUs, expected cuda:0 to cuda:%d", text, count, count - 1);
    if (*index < 0) *index = gpu % count;
    return STATUS_OK;
}

static status read_properties(device *dev, const char *text) {
    cuda_device *c = cuda_of(dev);
    struct cudaDeviceProp p;
    CUDA_TRY(cudaGetDeviceProperties(&p, c->index));
    CUDA_TRY(cudaDeviceGetPCIBusId(c->pci, sizeof c->pci, c->index));
    c->capability = 10 * p.major + p.minor;
    c->multiprocessors = p.multiProcessorCount;
    c->shared_memory = p.sharedMemPerBlockOptin;
    snprintf(dev->name, sizeof dev->name, "%.95s", p.name);
    snprintf(dev->isa, sizeof dev->isa, "sm_%d", c->capability);
    if (c->capability < OLDEST)
        FAIL(ARG, "--device %s: %s has compute capability %d.%d, expected 8.0 (Ampere) or newer", text, p.name, p.major,
             p.minor);
    return STATUS_OK;
}

static status open_resources(device *dev) {
    cuda_device *c = cuda_of(dev);
    CUDA_TRY(cudaStreamCreateWithFlags(&c->compute, cudaStreamNonBlocking));
    CUDA_TRY(cudaMalloc(&c->scratch, CUDA_SCRATCH_BYTES));
    size_t staged = (size_t)CUDA_UPLOADS * CUDA_UPLOAD_BYTES + (size_t)DEVICE_SLOTS * DEVICE_SLOT_BYTES;
    CUDA_TRY(cudaMallocHost((void **)&c->staging, staged));
    for (int i = 0; i < CUDA_UPLOADS; i++) CUDA_TRY(cudaEventCreateWithFlags(&c->uploaded[i], cudaEventDisableTiming));
    for (int i = 0; i < CUDA_POSTS; i++) CUDA_TRY(cudaEventCreate(&c->posted[i]));
    CUDA_TRY(cudaEventCreate(&c->began));
    for (int i = 0; i < CUDA_SPANS; i++) {
        CUDA_TRY(cudaEventCreate(&c->spans[i].begin));
        CUDA_TRY(cudaEventCreate(&c->spans[i].end));
    }
    return STATUS_OK;
}

status device_cuda_open(device *dev, const char *text, int index, int gpu) {
    TRY(find_gpu(text, &index, gpu));
    cuda_device *c = calloc(1, sizeof *c);
    if (!c) FAIL(MEM, "no memory for a device");
    status_code st = STATUS_OK;
    dev->kind = DEVICE_CUDA;
    dev->ops = &cuda_ops;
    dev->native = c;
    dev->threads = 1;
    dev->bf16_products = true;
    c->index = index;
    if (cudaSetDevice(index) != cudaSuccess) FAIL_DONE(DEVICE, "--device %s: GPU %d cannot be used", text, index);
    TRY_DONE(read_properties(dev, text));
    TRY_DONE(open_resources(dev));
done:
    if (st) cuda_close(dev);
    return st;
}
