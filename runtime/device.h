/* A device holds tensors and runs kernels. Each backend has one table of functions for resources (memory, and on CUDA streams
 * and events). Math is a pair of plain functions, NAME_cpu and NAME_cuda: see HALVES and DISPATCH below. */
#ifndef TALLY_DEVICE_H
#define TALLY_DEVICE_H

#include <stdbool.h>

#include "runtime/host.h"
#include "runtime/meter.h"
#include "runtime/profile.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

typedef enum { DEVICE_CPU, DEVICE_CUDA } device_kind;
typedef struct device device;

/* What a library keeps on a device: handles, plans, workspaces. The library's own file makes and reads it; device_close calls
 * close before it closes the device itself. */
typedef struct {
    void *state;
    size_t bytes;               /* of the device's memory, held now */
    void (*close)(device *dev); /* NULL: not open */
} device_library;

enum { DEVICE_GEMM, DEVICE_ATTENTION, DEVICE_LIBRARIES };

enum { DEVICE_SLOTS = 2, DEVICE_SLOT_BYTES = 256 };

/* On CUDA every function but alloc, copy, collect and synchronize only queues its work on the device's stream. The host waits
 * in two cases, where it is far ahead: upload waits until the piece of staging that it reuses is free, and span until the
 * oldest span can be booked. */
typedef struct {
    status (*alloc)(device *dev, void **memory, size_t bytes); /* zeroed, aligned to 2 MiB where that large, else 64 */
    void (*free)(device *dev, void *memory, size_t bytes);
    status (*zero)(device *dev, void *memory, size_t bytes);
    status (*copy)(device *dev, void *to, const void *from, size_t bytes); /* host or device memory on either side */
    status (*upload)(device *dev, void *to, const void *from,
                     size_t bytes); /* `from`: host memory, reusable on return */
    /* rows of device memory; strides in bytes */
    status (*copy_rows)(device *dev, void *to, size_t to_stride, const void *from, size_t from_stride, size_t row_bytes,
                        i64 rows);
    /* Results that the host reads later. post queues a copy of up to DEVICE_SLOT_BYTES at `from`; collect waits for the oldest
     * post and returns the copy. At most DEVICE_SLOTS posts may be outstanding. ns: the device's time since the post before,
     * or since begin; 0 if there was neither. Call begin only when no post is outstanding. */
    status (*begin)(device *dev);
    status (*post)(device *dev, const void *from, size_t bytes);
    status (*collect)(device *dev, void *to, size_t bytes, uint64_t *ns);
    /* Books the device's time from begin (true) to end (false) as `what` instead of useful compute. Spans do not nest. The CPU
     * books at once, CUDA in the collect of the first post that follows. */
    status (*span)(device *dev, booking what, bool begin);
    status (*used)(device *dev, uint64_t *bytes); /* of a GPU's memory, by all its processes; CPU: 0 */
    status (*room)(device *dev, host_room *r);    /* what can still be allocated */
    status (*synchronize)(device *dev);
    void (*close)(device *dev);
} device_ops;

struct device {
    device_kind kind;
    const device_ops *ops;
    device_library libraries[DEVICE_LIBRARIES];
    char name[96];            /* the hardware's own name, e.g. "AMD EPYC" */
    char isa[48];             /* CPU: the widest instruction set in use, e.g. "avx512_core_bf16" */
    int threads;              /* CPU: OpenMP threads, the calling one included */
    double cpus;              /* CPU: how many CPUs the threads can use; a quota may make it less than `threads` */
    bool dry;                 /* device_dry.h: nothing is computed */
    bool bf16_products;       /* the hardware multiplies bf16; false: GEMMs widen bf16 operands to f32 */
    flop_counter flops;       /* every GEMM and attention call adds here */
    bool recomputing;         /* forward work is booked as recompute: device_recompute */
    meter *clock;             /* the run's bookings of seconds, or NULL */
    profile *profile;         /* CPU: measures kinds of work, or NULL */
    uint64_t posts, collects; /* post number n is in slot n % DEVICE_SLOTS */
    char slots[DEVICE_SLOTS][DEVICE_SLOT_BYTES]; /* CPU: what was posted */
    uint64_t slot_ns[DEVICE_SLOTS], since_ns;    /* CPU: times of the posts; time of the last post or begin */
    void *native;                                /* CUDA: streams, events, staging */
};

/* text: "cpu" | "cuda" | "cuda:N" | "auto", which takes a GPU if there is one. If the device is absent, that is an error; no
 * other device replaces it. "cuda" takes the GPU number `gpu` modulo their number.
 * threads: CPU threads. 0: all that this process may use; a CPU quota (host.h) limits them, rounded to a whole number. If
 * fewer threads can be started than asked for, that is an error. */
status device_open(device **dev, const char *text, int threads, int gpu);
/* How many GPUs device_open(..., text, ...) chooses from, with their bus ids; 0 if it opens no GPU, if there are more than `most`,
 * or if the driver fails, which device_open then reports. index: N of "cuda:N", else -1. */
int device_gpus(const char *text, int *index, char (*pci)[32], int most);
void device_close(device *dev);

const char *device_pci(const device *dev); /* a GPU's bus id, "0000:3b:00.0"; CPU: "" */

/* on: from now on forward work counts as recompute, in FLOPs and, if the device has a clock, in seconds. */
status device_recompute(device *dev, bool on);

static inline work_kind device_forward_work(const device *dev) {
    return dev->recomputing ? WORK_RECOMPUTE : WORK_FORWARD;
}

/* A header that declares NAME(dev, ...) has HALVES(NAME) behind it: the two halves have NAME's own signature. NAME.c defines
 * NAME_cpu and NAME.cu defines NAME_cuda, and both include the header, so that a signature that differs does not compile. */
#define HALVES(name) extern __typeof__(name) name##_cpu, name##_cuda

/* NAME.c: NAME checks its arguments, then `return DISPATCH(dev, NAME, ...)` calls the half of the device's kind; on a dry device
 * neither. HALF is that half itself. */
#ifdef TALLY_CUDA
#define HALF(dev, name) ((dev)->kind == DEVICE_CUDA ? name##_cuda : name##_cpu)
#else
#define HALF(dev, name) name##_cpu
#endif
#define DISPATCH(dev, name, ...) ((dev)->dry ? STATUS_OK : HALF(dev, name)(dev, ##__VA_ARGS__))

#endif
