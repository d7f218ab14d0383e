#include "runtime/device_cpu.h"

#include <errno.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "runtime/gemm_backend.h"

static const size_t huge_page = 2u << 20;

static status cpu_alloc(device *dev, void **memory, size_t bytes) {
    (void)dev;
    size_t alignment = bytes >= huge_page ? huge_page : 64;
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void *p = aligned_alloc(alignment, rounded ? rounded : alignment);
    if (!p) FAIL(MEM, "cannot allocate %zu bytes of memory", bytes);
    if (alignment == huge_page) madvise(p, rounded, MADV_HUGEPAGE); /* fewer TLB misses; only advice */
    /* touched in parallel, so that pages are spread over the nodes of those who use them */
    size_t blocks = (rounded + huge_page - 1) / huge_page;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < blocks; i++) {
        size_t left = rounded - i * huge_page;
        memset((char *)p + i * huge_page, 0, left < huge_page ? left : huge_page);
    }
    *memory = p;
    return STATUS_OK;
}

static void cpu_free(device *dev, void *memory, size_t bytes) {
    (void)dev, (void)bytes;
    free(memory);
}

static status cpu_zero(device *dev, void *memory, size_t bytes) {
    (void)dev;
    size_t block = 1u << 20, blocks = (bytes + block - 1) / block;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < blocks; i++) {
        size_t left = bytes - i * block;
        memset((char *)memory + i * block, 0, left < block ? left : block);
    }
    return STATUS_OK;
}

static status cpu_copy(device *dev, void *to, const void *from, size_t bytes) {
    (void)dev;
    memcpy(to, from, bytes);
    return STATUS_OK;
}

static status cpu_copy_rows(device *dev, void *to, size_t to_stride, const void *from, size_t from_stride,
                            size_t row_bytes, i64 rows) {
    (void)dev;
    for (i64 i = 0; i < rows; i++)
        memcpy((char *)to + (size_t)i * to_stride, (const char *)from + (size_t)i * from_stride, row_bytes);
    return STATUS_OK;
}

static status cpu_begin(device *dev) {
    dev->since_ns = clock_ns();
    return STATUS_OK;
}

static status cpu_post(device *dev, const void *from, size_t bytes) {
    int slot = (int)(dev->posts++ % DEVICE_SLOTS);
    memcpy(dev->slots[slot], from, bytes);
    dev->slot_ns[slot] = clock_ns();
    return STATUS_OK;
}

static status cpu_collect(device *dev, void *to, size_t bytes, uint64_t *ns) {
    int slot = (int)(dev->collects++ % DEVICE_SLOTS);
    memcpy(to, dev->slots[slot], bytes);
    *ns = dev->since_ns ? dev->slot_ns[slot] - dev->since_ns : 0;
    dev->since_ns = dev->slot_ns[slot];
    return STATUS_OK;
}

static status cpu_span(device *dev, booking what, bool begin) {
    if (dev->clock) meter_book(dev->clock, begin ? what : BOOK_USEFUL);
    return STATUS_OK;
}

static status cpu_used(device *dev, uint64_t *bytes) {
    (void)dev;
    *bytes = 0;
    return STATUS_OK;
}

static status cpu_synchronize(device *dev) {
    (void)dev;
    return STATUS_OK;
}

static void cpu_close(device *dev) { gemm_close_cpu(dev); }

static const device_ops cpu_ops = {
    .alloc = cpu_alloc,
    .free = cpu_free,
    .zero = cpu_zero,
    .copy = cpu_copy,
    .upload = cpu_copy,
    .copy_rows = cpu_copy_rows,
    .begin = cpu_begin,
    .post = cpu_post,
    .collect = cpu_collect,
    .span = cpu_span,
    .used = cpu_used,
    .synchronize = cpu_synchronize,
    .close = cpu_close,
};

/* the machine's own words for its processor */
static void read_cpu_name(char *name, size_t size) {
    snprintf(name, size, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    char line[512];
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "model name", 10) && strncmp(line, "Model", 5)) continue;
        char *value = strchr(line, ':');
        if (!value) continue;
        value += 1 + strspn(value + 1, " \t");
        value[strcspn(value, "\n")] = 0;
        snprintf(name, size, "%s", value);
        break;
    }
    fclose(f);
}

static int usable_threads(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    return omp_get_num_procs();
}

status device_open_cpu(device *dev, int threads) {
    int usable = usable_threads();
    if (threads < 0 || threads > 1024) FAIL(ARG, "--threads: %d, expected 0 (all) to 1024", threads);
    dev->kind = DEVICE_CPU;
    dev->ops = &cpu_ops;
    dev->threads = threads ? threads : usable;
    omp_set_num_threads(dev->threads);
    omp_set_dynamic(0);
    read_cpu_name(dev->name, sizeof dev->name);
    return gemm_open_cpu(dev);
}
