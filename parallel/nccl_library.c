#include "parallel/nccl_library.h"

#include <dlfcn.h>
#include <stdio.h>

#define FILE_NAME "libnccl.so.2"

enum { OLDEST = NCCL_VERSION(2, 18, 0) }; /* older versions do not support non-blocking communicators reliably */

static nccl_library loaded;

static status find_version(void *file, char *name, size_t bytes) {
    __typeof__(ncclGetVersion) *version_of = dlsym(file, "ncclGetVersion");
    int version = 0;
    if (!version_of || version_of(&version) != ncclSuccess) FAIL(DEVICE, FILE_NAME " does not report its version");
    int major = version < 10000 ? 1000 : 10000; /* the format changed with 2.9 */
    snprintf(name, bytes, "nccl %d.%d.%d", version / major, version % major / 100, version % 100);
    if (version < OLDEST) FAIL(DEVICE, FILE_NAME ": found %s, expected nccl 2.18 or newer", name);
    return STATUS_OK;
}

status nccl_library_load(const nccl_library **library) {
    *library = &loaded;
    if (*loaded.name) return STATUS_OK;
    nccl_library l;
    void *file = dlopen(FILE_NAME, RTLD_NOW | RTLD_LOCAL);
    if (!file) FAIL(DEVICE, "NCCL: %s", dlerror());
    TRY(find_version(file, l.name, sizeof l.name));
#define FIND(call)                                                                                                     \
    if (!(l.call = dlsym(file, "nccl" #call))) FAIL(DEVICE, FILE_NAME " (%s) has no function nccl" #call, l.name);
    NCCL_CALLS(FIND)
#undef FIND
    loaded = l;
    return STATUS_OK;
}
