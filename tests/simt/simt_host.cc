/* Errors, devices and their properties, kernels' attributes. */
#include <algorithm>
#include <map>
#include <mutex>

#include "simt_state.h"

namespace simt {

static thread_local int device;
static thread_local cudaError_t last_error;
static std::atomic<int> sticky_error;

static std::mutex &lock = *new std::mutex;
static std::map<const void *, int> &dynamic_limit = *new std::map<const void *, int>;

int current_device() { return device; }

cudaError_t failed(cudaError_t e) {
    last_error = e;
    return e;
}

cudaError_t sticky() { return sticky_error ? failed((cudaError_t)(int)sticky_error) : cudaSuccess; }
void set_sticky(cudaError_t e) { sticky_error = (int)e; }

/* read when it is asked for: a test opens devices of different sizes */
size_t most_shared_bytes() {
    const char *kib = getenv("SIMT_SHARED_KIB");
    return kib ? std::min((size_t)atoi(kib) << 10, (size_t)SHARED_OPTIN_BYTES) : SHARED_OPTIN_BYTES;
}

bool shared_memory_allowed(const void *kernel, size_t bytes) {
    std::lock_guard<std::mutex> l(lock);
    auto at = dynamic_limit.find(kernel);
    return bytes <= (size_t)(at == dynamic_limit.end() ? SHARED_DEFAULT_BYTES : at->second);
}

static const struct {
    cudaError_t code;
    const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
};

} // namespace simt

using namespace simt;

extern "C" {

cudaError_t cudaPeekAtLastError(void) { return sticky_error ? (cudaError_t)(int)sticky_error : last_error; }

cudaError_t cudaGetLastError(void) {
    cudaError_t e = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return e;
}

const char *cudaGetErrorName(cudaError_t e) {
    for (auto &known : errors)
        if (known.code == e) return known.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t e) {
    for (auto &known : errors)
        if (known.code == e) return known.text;
    return "unrecognized error code";
}

cudaError_t cudaDriverGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n) {
    *n = options.devices;
    return options.devices ? sticky() : failed(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int index) {
    if (index < 0 || index >= options.devices) return failed(cudaErrorInvalidDevice);
    device = index;
    return sticky();
}

cudaError_t cudaGetDevice(int *index) {
    *index = device;
    return sticky();
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int bytes, int index) {
    if (index < 0 || index >= options.devices) return failed(cudaErrorInvalidDevice);
    int n = snprintf(id, (size_t)bytes, "0000:%02x:00.0", index + 1);
    return n < bytes ? sticky() : failed(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int index) {
    if (index < 0 || index >= options.devices) return failed(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    strcpy(p->name, "simt (emulated sm_90)");
    p->major = 9;
    p->minor = 0;
    p->multiProcessorCount = options.multiprocessors;
    p->warpSize = 32;
    p->totalGlobalMem = options.memory_bytes;
    p->sharedMemPerBlock = SHARED_DEFAULT_BYTES;
    p->sharedMemPerBlockOptin = most_shared_bytes();
    p->sharedMemPerMultiprocessor = most_shared_bytes() + 1024;
    p->maxThreadsPerBlock = MAX_THREADS;
    p->maxThreadsPerMultiProcessor = 2048;
    p->regsPerBlock = 65536;
    p->l2CacheSize = 50 << 20;
    return sticky();
}

cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return sticky();
    if (value < 0 || (size_t)value > most_shared_bytes()) return failed(cudaErrorInvalidValue);
    std::lock_guard<std::mutex> l(lock);
    dynamic_limit[f] = value;
    return sticky();
}
}
