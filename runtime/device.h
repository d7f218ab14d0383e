/* A device: where tensors live and kernels run. Resources (memory, and on CUDA streams and events) go through one table
 * of functions a backend; math is a pair of plain functions, NAME_cpu and NAME_cuda: HALVES and DISPATCH below. */
#ifndef TALLY_DEVICE_H
#define TALLY_DEVICE_H

#include <stdbool.h>

#include "runtime/host.h"
#include "runtime/meter.h"
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

/* On CUDA all but alloc, copy, collect and synchronize only queue, behind what was queued before; the host waits only where
 * it is far ahead: upload for the piece of staging it takes anew, span for the oldest one not yet booked. */
typedef struct {
    status (*alloc)(device *dev, void **memory, size_t bytes); /* zeroed, aligned to 2 MiB where that large, else 64 */
    void (*free)(device *dev, void *memory, size_t bytes);
    status (*zero)(device *dev, void *memory, size_t bytes);
    status (*copy)(device *dev, void *to, const void *from, size_t bytes); /* host or device memory on either side */
    status (*upload)(device *dev, void *to, const void *from,
                     size_t bytes); /* from host memory, free again on return */
    /* rows of device memory; strides in bytes */
    status (*copy_rows)(device *dev, void *to, size_t to_stride, const void *from, size_t from_stride, size_t row_bytes,
                        i64 rows);
    /* What lies at `from`, up to DEVICE_SLOT_BYTES, when the device comes here, to read later: collect waits for the oldest
     * of up to DEVICE_SLOTS. ns: by the device's own clock since the post before it, or since begin, which is for when none
     * is under way; 0 where there was neither. */
    status (*begin)(device *dev);
    status (*post)(device *dev, const void *from, size_t bytes);
    status (*collect)(device *dev, void *to, size_t bytes, uint64_t *ns);
    /* the device's time from begin to end, which do not nest, is booked as `what` in the place of useful compute: on the CPU
     * now, on CUDA by the next collect of a slot posted behind it */
    status (*span)(device *dev, booking what, bool begin);
    status (*used)(device *dev, uint64_t *bytes); /* of a GPU's memory, by all on it; 0 on the CPU */
    status (*room)(device *dev, host_room *r);    /* what can still be allocated; NULL: not bounded */
    status (*synchronize)(device *dev);
    void (*close)(device *dev);
} device_ops;

struct device {
    device_kind kind;
    const device_ops *ops;
    device_library libraries[DEVICE_LIBRARIES];
    char name[96]; /* as the hardware names itself, e.g. "AMD EPYC" */
    char isa[48];  /* CPU: the widest instruction set in use, e.g. "avx512_core_bf16" */
    int threads;   /* CPU: OpenMP threads, the calling one included */
    double cpus; /* CPU: what these threads can have of the machine's CPUs, which a quota may cut below their number */
    bool
        bf16_products; /* whether a bf16 product is one of the hardware's own; else it runs as f32 on widened operands */
    flop_counter flops;       /* every GEMM and attention call adds here */
    bool recomputing;         /* forward work that runs now is booked as recompute: device_recompute */
    meter *clock;             /* the run's bookings of seconds, or NULL */
    uint64_t posts, collects; /* post number n is in slot n % DEVICE_SLOTS */
    char slots[DEVICE_SLOTS][DEVICE_SLOT_BYTES]; /* CPU: what was posted */
    uint64_t slot_ns[DEVICE_SLOTS], since_ns;    /* CPU: and when; when the one before was, or begin */
    void *native;                                /* CUDA: streams, events, staging */
};

/* text: "cpu" | "cuda" | "cuda:N" | "auto", which is the GPU where there is one. A device that is asked for and absent is an
 * error, never another device. threads: CPU threads, 0 for all that this process may use, which a CPU quota (host.h) cuts
 * down to the nearest whole number. Fewer threads than asked for are an error. Without N a process takes the GPU
 * of its local_rank, modulo their number. */
status device_open(device **dev, const char *text, int threads, int local_rank);
void device_close(device *dev);

const char *device_pci(const device *dev); /* a GPU's bus id, "0000:3b:00.0"; "" of a CPU */

/* Forward work from here on is (or is no longer) recompute, in FLOPs and, with a clock, in seconds. */
status device_recompute(device *dev, bool on);

static inline work_kind device_forward_work(const device *dev) {
    return dev->recomputing ? WORK_RECOMPUTE : WORK_FORWARD;
}

/* A header that declares NAME(dev, ...) has HALVES(NAME) behind it: the two halves have NAME's own signature. NAME.c defines
 * NAME_cpu and NAME.cu defines NAME_cuda, and both include the header, so that a signature that differs does not compile. */
#define HALVES(name) extern __typeof__(name) name##_cpu, name##_cuda

/* NAME.c: NAME checks its arguments, then `return DISPATCH(dev, NAME, ...)` calls the half of the device's kind. */
#ifdef TALLY_CUDA
#define DISPATCH(dev, name, ...)                                                                                       \
    ((dev)->kind == DEVICE_CUDA ? name##_cuda(dev, ##__VA_ARGS__) : name##_cpu(dev, ##__VA_ARGS__))
#else
#define DISPATCH(dev, name, ...) name##_cpu(dev, ##__VA_ARGS__)
#endif

#endif
