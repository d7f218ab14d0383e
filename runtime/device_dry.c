#include "runtime/device_dry.h"

#include <stdlib.h>

#include "runtime/gemm_backend.h"

typedef struct {
    device d;
    uintptr_t next; /* the first address that is not taken */
} dry_device;

static const uintptr_t granule = 2u << 20;

/* addresses that no memory has */
static status dry_alloc(device *dev, void **memory, size_t bytes) {
    dry_device *d = (dry_device *)dev;
    uintptr_t rounded = (bytes + granule) / granule * granule;
    if (rounded < bytes || d->next + rounded < d->next) FAIL(MEM, "no addresses for %zu bytes", bytes);
    *memory = (void *)d->next; // NOLINT(performance-no-int-to-ptr): it is never followed
    d->next += rounded;
    return STATUS_OK;
}

static void dry_free(device *dev, void *memory, size_t bytes) { (void)dev, (void)memory, (void)bytes; }

static status dry_zero(device *dev, void *memory, size_t bytes) {
    (void)dev, (void)memory, (void)bytes;
    return STATUS_OK;
}

static status dry_copy(device *dev, void *to, const void *from, size_t bytes) {
    (void)dev, (void)to, (void)from, (void)bytes;
    return STATUS_OK;
}

static status dry_copy_rows(device *dev, void *to, size_t to_stride, const void *from, size_t from_stride,
                            size_t row_bytes, i64 rows) {
    (void)dev, (void)to, (void)to_stride, (void)from, (void)from_stride, (void)row_bytes, (void)rows;
    return STATUS_OK;
}

static status dry_begin(device *dev) {
    (void)dev;
    return STATUS_OK;
}

static status dry_post(device *dev, const void *from, size_t bytes) {
    (void)dev, (void)from, (void)bytes;
    return STATUS_OK;
}

static status dry_collect(device *dev, void *to, size_t bytes, uint64_t *ns) {
    (void)dev;
    memset(to, 0, bytes);
    *ns = 0;
    return STATUS_OK;
}

static status dry_span(device *dev, booking what, bool begin) {
    (void)dev, (void)what, (void)begin;
    return STATUS_OK;
}

static status dry_used(device *dev, uint64_t *bytes) {
    (void)dev;
    *bytes = 0;
    return STATUS_OK;
}

static void dry_close(device *dev) { (void)dev; }

static const device_ops dry_ops = {.alloc = dry_alloc,
                                   .free = dry_free,
                                   .zero = dry_zero,
                                   .copy = dry_copy,
                                   .upload = dry_copy,
                                   .copy_rows = dry_copy_rows,
                                   .begin = dry_begin,
                                   .post = dry_post,
                                   .collect = dry_collect,
                                   .span = dry_span,
                                   .used = dry_used,
                                   .synchronize = dry_begin,
                                   .close = dry_close};

status device_dry_open(device **out, const device *like) {
    dry_device *d = calloc(1, sizeof *d);
    if (!d) FAIL(MEM, "no memory for a device");
    *d = (dry_device){.d = {.kind = like->kind,
                            .ops = &dry_ops,
                            .name = "dry",
                            .threads = like->threads,
                            .dry = true,
                            .bf16_products = like->bf16_products},
                      .next = granule};
    status_code st = gemm_open_dry(&d->d);
    if (st) {
        free(d);
        return status_trace(st, __FILE__, __LINE__);
    }
    *out = &d->d;
    return STATUS_OK;
}
