#include "runtime/device_cpu.h"

#include <errno.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "runtime/log.h"

static const size_t huge_page = 2u << 20;

#ifdef __SANITIZE_ADDRESS__
static const bool maps = false; /* the sanitizer sees accesses beyond the end of what the C library allocates */
#else
static const bool maps = true;
#endif

/* Pages of its own, which leave the process when they are freed; the C library would keep some, and would use memory that was
 * advised to be huge pages for small things. Huge pages mean fewer TLB misses; the rest of `bytes` must not take a whole one. */
static void *map_large(size_t bytes) {
    char *p = mmap(NULL, bytes + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    size_t before = (huge_page - (uintptr_t)p % huge_page) % huge_page;
    if (before) munmap(p, before);
    size_t end = (before + bytes + 4095) & ~(size_t)4095;
    if (end < bytes + huge_page) munmap(p + end, bytes + huge_page - end);
    madvise(p + before, bytes / huge_page * huge_page, MADV_HUGEPAGE); /* may fail */
    return p + before;
}

static status cpu_alloc(device *dev, void **memory, size_t bytes) {
    (void)dev;
    void *p = maps && bytes >= huge_page ? map_large(bytes) : aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!p) FAIL(MEM, "cannot allocate %zu bytes of memory", bytes);
    /* Each thread touches its part first, so that the pages lie on the NUMA nodes of the threads. */
    size_t blocks = (bytes + huge_page - 1) / huge_page;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < blocks; i++) {
        size_t left = bytes - i * huge_page;
        memset((char *)p + i * huge_page, 0, left < huge_page ? left : huge_page);
    }
    *memory = p;
    return STATUS_OK;
}

static void cpu_free(device *dev, void *memory, size_t bytes) {
    (void)dev;
    if (!maps || bytes < huge_page) free(memory);
    else if (memory) munmap(memory, bytes);
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
    dev->since_ns = meter_clock_ns();
    return STATUS_OK;
}

static status cpu_post(device *dev, const void *from, size_t bytes) {
    int slot = (int)(dev->posts++ % DEVICE_SLOTS);
    memcpy(dev->slots[slot], from, bytes);
    dev->slot_ns[slot] = meter_clock_ns();
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

static status cpu_room(device *dev, host_room *r) {
    (void)dev;
    *r = host_memory();
    return STATUS_OK;
}

static status cpu_synchronize(device *dev) {
    (void)dev;
    return STATUS_OK;
}

static void cpu_close(device *dev) { (void)dev; }

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
    .room = cpu_room,
    .synchronize = cpu_synchronize,
    .close = cpu_close,
};

/* the processor's name in /proc/cpuinfo */
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

static int usable_threads(double quota) {
    cpu_set_t set;
    int usable = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : omp_get_num_procs();
    return host_whole_cpus(quota) < usable ? host_whole_cpus(quota) : usable;
}

static void *wait_for_all(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* If libgomp cannot create a thread, it ends the process. So create as many threads here first, all alive at once, and report
 * a failure. Then let libgomp create its threads at once, before memory is taken for anything else. */
static status start_threads(int threads) {
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *probes = calloc((size_t)threads, sizeof *probes);
    int started = 0, error = 0;
    if (!probes) FAIL(MEM, "no memory for %d threads", threads);
    pthread_mutex_lock(&gate);
    while (started < threads - 1 && !error) {
        error = pthread_create(&probes[started], NULL, wait_for_all, &gate);
        started += !error;
    }
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < started; i++) pthread_join(probes[i], NULL);
    free(probes);
    if (error)
        FAIL(ARG,
             "--threads: %d, but only %d can be started here (%s); expected fewer, or a higher limit of processes "
             "(ulimit -u) or memory (ulimit -v)",
             threads, started + 1, strerror(error));
    omp_set_num_threads(threads);
    omp_set_dynamic(0);
#pragma omp parallel
    {}
    return STATUS_OK;
}

status device_cpu_open(device *dev, int threads) {
    host_quota quota = host_cpu_quota();
    double mine = quota.cpus / host_ranks();
    if (threads < 0 || threads > 1024) FAIL(ARG, "--threads: %d, expected 0 (all) to 1024", threads);
    dev->kind = DEVICE_CPU;
    dev->ops = &cpu_ops;
    dev->threads = threads ? threads : usable_threads(mine);
    dev->cpus = fmin(dev->threads, mine);
    if (threads > host_whole_cpus(mine))
        log_line("threads: %d share %.3g CPUs by the quota of cgroup %s; %d would be faster", threads, mine,
                 quota.group, host_whole_cpus(mine));
    TRY(start_threads(dev->threads));
    read_cpu_name(dev->name, sizeof dev->name);
    return STATUS_OK;
}
