/* Device memory and pinned memory, and copies between them: which memory a pointer is in is checked, and to the byte. */
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <vector>

#include "simt_state.h"

namespace simt {

struct Allocation {
    size_t bytes;
    int device;
};

static std::mutex &lock = *new std::mutex;
static std::map<uintptr_t, Allocation> &device_memory = *new std::map<uintptr_t, Allocation>;
static std::map<uintptr_t, Allocation> &pinned_memory = *new std::map<uintptr_t, Allocation>;
static int device_runs; /* closures that run now */

enum Place { PAGEABLE, PINNED, DEVICE, BEYOND }; /* BEYOND: begins in an allocation and ends behind it */

static Place place_in(const std::map<uintptr_t, Allocation> &memory, Place inside, const void *p, size_t n,
                      uintptr_t *base, size_t *size) {
    auto at = memory.upper_bound((uintptr_t)p);
    if (at == memory.begin()) return PAGEABLE;
    --at;
    size_t offset = (uintptr_t)p - at->first;
    if (offset >= at->second.bytes) return PAGEABLE;
    if (base) *base = at->first;
    if (size) *size = at->second.bytes;
    return n <= at->second.bytes - offset ? inside : BEYOND;
}

static Place place_of(const void *p, size_t n, uintptr_t *base = nullptr, size_t *size = nullptr) {
    std::lock_guard<std::mutex> l(lock);
    Place place = place_in(device_memory, DEVICE, p, n, base, size);
    return place == PAGEABLE ? place_in(pinned_memory, PINNED, p, n, base, size) : place;
}

bool is_device_ptr(const void *p, size_t n, uintptr_t *base, size_t *size) {
    return place_of(p, n, base, size) == DEVICE;
}

/* --- SIMT_GUARD: behind every allocation a page that faults, and all faults while no closure runs --- */

/* A change of protection costs by the page, and comes with every closure: the largest allocations stay open to the host. */
enum { MAX_CLOSED_BYTES = 8 << 20 };

static void protect(uintptr_t p, const Allocation &a, int how) {
    if (a.bytes > MAX_CLOSED_BYTES) return;
    mprotect((void *)(p & ~(uintptr_t)(PAGE_BYTES - 1)), round_up(a.bytes, PAGE_BYTES), how);
}

DeviceRuns::DeviceRuns() {
    if (!options.guard) return;
    std::lock_guard<std::mutex> l(lock);
    if (device_runs++ == 0)
        for (auto &a : device_memory) protect(a.first, a.second, PROT_READ | PROT_WRITE);
}

DeviceRuns::~DeviceRuns() {
    if (!options.guard) return;
    std::lock_guard<std::mutex> l(lock);
    if (--device_runs == 0)
        for (auto &a : device_memory) protect(a.first, a.second, PROT_NONE);
}

/* its end as near to the guard page as 16-byte accesses allow */
static char *guarded_alloc(size_t n) {
    size_t pages = round_up(n, PAGE_BYTES);
    char *p = (char *)mmap(nullptr, pages + PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    memset(p, 0xff, pages);
    mprotect(p + pages, PAGE_BYTES, PROT_NONE);
    if (!device_runs && n <= MAX_CLOSED_BYTES) mprotect(p, pages, PROT_NONE);
    return p + pages - round_up(n, 16);
}

static char *plain_alloc(size_t n) {
    void *p;
    if (posix_memalign(&p, 256, n)) return nullptr;
    memset(p, 0xff, n); /* NaN: what is read before it is written shows */
    return (char *)p;
}

static size_t bytes_in_use(int device) {
    size_t bytes = 0;
    for (auto &a : device_memory)
        if (a.second.device == device) bytes += a.second.bytes;
    return bytes;
}

/* --- copies --- */

/* height rows of width bytes */
struct Rows {
    char *to;
    const char *from;
    size_t to_pitch, from_pitch, width, height;

    void copy() const {
        for (size_t i = 0; i < height; i++) memmove(to + i * to_pitch, from + i * from_pitch, width);
    }
    static size_t extent(size_t pitch, size_t width, size_t height) {
        return height && width ? (height - 1) * pitch + width : 0;
    }
};

static bool wants(enum cudaMemcpyKind kind, bool device, enum cudaMemcpyKind one, enum cudaMemcpyKind other) {
    return kind == cudaMemcpyDefault || device == (kind == one || kind == other);
}

static cudaError_t check_places(Place to, Place from, enum cudaMemcpyKind kind) {
    static const char *const names[] = {"host memory", "pinned memory", "device memory", "memory beyond an allocation"};
    if (to != BEYOND && from != BEYOND && wants(kind, to == DEVICE, cudaMemcpyHostToDevice, cudaMemcpyDeviceToDevice) &&
        wants(kind, from == DEVICE, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice))
        return cudaSuccess;
    fprintf(stderr, "simt: a copy of kind %d is from %s to %s\n", (int)kind, names[from], names[to]);
    return failed(cudaErrorInvalidValue);
}

/* Pinned memory is read and written when the stream comes to it. Pageable memory is read before the call returns, and
 * written before it returns: those copies are not asynchronous. */
static cudaError_t copy_rows(Rows r, enum cudaMemcpyKind kind, cudaStream_t s) {
    size_t to_bytes = Rows::extent(r.to_pitch, r.width, r.height);
    size_t from_bytes = Rows::extent(r.from_pitch, r.width, r.height);
    if (!to_bytes) return sticky();
    Place to = place_of(r.to, to_bytes), from = place_of(r.from, from_bytes);
    if (cudaError_t e = check_places(to, from, kind)) return e;
    if (to == PAGEABLE) {
        enqueue_and_wait(s, [=] { r.copy(); });
    } else if (from == PAGEABLE) {
        std::vector<char> staged(r.from, r.from + from_bytes);
        enqueue(s, [=] {
            Rows of_staged = r;
            of_staged.from = staged.data();
            of_staged.copy();
        });
    } else {
        enqueue(s, [=] { r.copy(); });
    }
    return sticky();
}

static cudaError_t set(void *to, int value, size_t n, cudaStream_t s) {
    if (n && place_of(to, n) != DEVICE) {
        fprintf(stderr, "simt: cudaMemset of memory that is not, or not all, the device's\n");
        return failed(cudaErrorInvalidValue);
    }
    if (n) enqueue(s, [=] { memset(to, value, n); });
    return sticky();
}

} // namespace simt

using namespace simt;

extern "C" {

cudaError_t cudaMalloc(void **p, size_t n) {
    std::lock_guard<std::mutex> l(lock);
    *p = nullptr;
    if (sticky() || !n) return sticky();
    if (bytes_in_use(current_device()) + n > options.memory_bytes) return failed(cudaErrorMemoryAllocation);
    char *memory = options.guard ? guarded_alloc(n) : plain_alloc(n);
    if (!memory) return failed(cudaErrorMemoryAllocation);
    device_memory[(uintptr_t)memory] = {n, current_device()};
    *p = memory;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p) {
    if (!p) return cudaSuccess;
    synchronize_device(current_device(), true);
    std::lock_guard<std::mutex> l(lock);
    auto at = device_memory.find((uintptr_t)p);
    if (at == device_memory.end()) {
        fprintf(stderr, "simt: cudaFree of %p, which no cudaMalloc returned\n", p);
        return failed(cudaErrorInvalidValue);
    }
    if (options.guard)
        munmap((void *)((uintptr_t)p & ~(uintptr_t)(PAGE_BYTES - 1)),
               round_up(at->second.bytes, PAGE_BYTES) + PAGE_BYTES);
    else free(p);
    device_memory.erase(at);
    return sticky();
}

cudaError_t cudaMallocHost(void **p, size_t n) {
    std::lock_guard<std::mutex> l(lock);
    *p = plain_alloc(n ? n : 1);
    if (!*p) return failed(cudaErrorMemoryAllocation);
    pinned_memory[(uintptr_t)*p] = {n, 0};
    return sticky();
}

cudaError_t cudaFreeHost(void *p) {
    if (!p) return cudaSuccess;
    synchronize_device(current_device(), true);
    std::lock_guard<std::mutex> l(lock);
    if (!pinned_memory.erase((uintptr_t)p)) return failed(cudaErrorInvalidValue);
    free(p);
    return sticky();
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *all) {
    std::lock_guard<std::mutex> l(lock);
    *all = options.memory_bytes;
    *left = *all - bytes_in_use(current_device());
    return sticky();
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind, cudaStream_t s) {
    return copy_rows({(char *)to, (const char *)from, n, n, n, 1}, kind, s);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, n, kind, nullptr);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, enum cudaMemcpyKind kind, cudaStream_t s) {
    if (width > to_pitch || width > from_pitch) return failed(cudaErrorInvalidPitchValue);
    return copy_rows({(char *)to, (const char *)from, to_pitch, from_pitch, width, height}, kind, s);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t n, cudaStream_t s) { return set(to, value, n, s); }
cudaError_t cudaMemset(void *to, int value, size_t n) { return set(to, value, n, nullptr); }
}
