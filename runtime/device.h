/* A device: where tensors live and kernels run. Resources (memory, and on CUDA streams and events) go through one table
 * of functions a backend; math is a pair of plain functions, NAME_cpu and NAME_cuda, that NAME dispatches on dev->kind. */
#ifndef TALLY_DEVICE_H
#define TALLY_DEVICE_H

#include <stdbool.h>

#include "runtime/meter.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

typedef enum { DEVICE_CPU, DEVICE_CUDA } device_kind;
typedef struct device device;
struct gemm_context;

typedef struct {
    status (*alloc)(device *dev, void **memory, size_t bytes); /* zeroed, aligned to 2 MiB where that large, else 64 */
    void (*free)(device *dev, void *memory, size_t bytes);
    status (*zero)(device *dev, void *memory, size_t bytes);
    status (*copy)(device *dev, void *to, const void *from, size_t bytes); /* host or device memory on either side */
    status (*synchronize)(device *dev);
    void (*close)(device *dev);
} device_ops;

struct device {
    device_kind kind;
    const device_ops *ops;
    struct gemm_context *gemm;
    char name[96]; /* as the hardware names itself, e.g. "AMD EPYC" */
    char isa[48];  /* CPU: the widest instruction set in use, e.g. "avx512_core_bf16" */
    int threads;   /* CPU: OpenMP threads, the calling one included */
    bool
        bf16_products; /* whether a bf16 product is one of the hardware's own; else it runs as f32 on widened operands */
    flop_counter flops; /* every GEMM and attention call adds here */
    bool recomputing;   /* forward work that runs now is booked as recompute: device_recompute */
    meter *clock;       /* the run's bookings of seconds, or NULL */
};

/* text: "cpu" | "cuda" | "cuda:N" | "auto". A device that is asked for and absent is an error, never another device.
 * threads: CPU threads, 0 for all that this process may use. */
status device_open(device **dev, const char *text, int threads);
void device_close(device *dev);

/* Forward work from here on is (or is no longer) recompute, in FLOPs and, with a clock, in seconds. */
void device_recompute(device *dev, bool on);

static inline work_kind forward_work(const device *dev) { return dev->recomputing ? WORK_RECOMPUTE : WORK_FORWARD; }

/* Inside NAME(dev, ...): `return DISPATCH(dev, NAME, ...)` calls the backend's half with the same arguments. */
#ifdef TALLY_CUDA
#define DISPATCH(dev, name, ...)                                                                                       \
    ((dev)->kind == DEVICE_CUDA ? name##_cuda((dev), __VA_ARGS__) : name##_cpu((dev), __VA_ARGS__))
#else
#define DISPATCH(dev, name, ...) name##_cpu((dev), __VA_ARGS__)
#endif

#endif
