#include "train/bill/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* Declared here as the NVML API Reference Guide (docs.nvidia.com/deploy/nvml-api) documents them: nvmlReturn_t is an int
 * enum with NVML_SUCCESS 0; nvmlClockType_t; nvmlTemperatureSensors_t. */
enum { NVML_SUCCESS = 0, NVML_CLOCK_SM = 1, NVML_CLOCK_MEM = 2, NVML_TEMPERATURE_GPU = 0 };
typedef struct nvmlDevice_st *nvmlDevice_t;

struct nvml {
    void *library;
    nvmlDevice_t gpu;
    bool initialised, counts_energy;
    int sm_max_mhz, memory_max_mhz;
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error_string)(int);
    int (*handle_by_pci)(const char *pci, nvmlDevice_t *gpu);
    int (*total_energy)(nvmlDevice_t, unsigned long long *mj); /* since the driver was loaded */
    int (*power_usage)(nvmlDevice_t, unsigned *mw);
    int (*clock)(nvmlDevice_t, int type, unsigned *mhz);
    int (*max_clock)(nvmlDevice_t, int type, unsigned *mhz);
    int (*temperature)(nvmlDevice_t, int sensor, unsigned *celsius);
    int (*reasons)(nvmlDevice_t, unsigned long long *bits);
};

/* NULL: this version of the library lacks it */
static void *symbol(const nvml *n, const char *name) { return dlsym(n->library, name); }

static void find_functions(nvml *n) {
    n->init = symbol(n, "nvmlInit_v2");
    n->shutdown = symbol(n, "nvmlShutdown");
    n->error_string = symbol(n, "nvmlErrorString");
    n->handle_by_pci = symbol(n, "nvmlDeviceGetHandleByPciBusId_v2");
    n->total_energy = symbol(n, "nvmlDeviceGetTotalEnergyConsumption");
    n->power_usage = symbol(n, "nvmlDeviceGetPowerUsage");
    n->clock = symbol(n, "nvmlDeviceGetClockInfo");
    n->max_clock = symbol(n, "nvmlDeviceGetMaxClockInfo");
    n->temperature = symbol(n, "nvmlDeviceGetTemperature");
    n->reasons = symbol(n, "nvmlDeviceGetCurrentClocksEventReasons");
    if (!n->reasons) n->reasons = symbol(n, "nvmlDeviceGetCurrentClocksThrottleReasons"); /* its name before R535 */
}

static int clock_of(const nvml *n, int (*function)(nvmlDevice_t, int, unsigned *), int type) {
    unsigned mhz;
    return function && function(n->gpu, type, &mhz) == NVML_SUCCESS ? (int)mhz : -1;
}

static status open_gpu(nvml *n, const char *library, const char *pci) {
    n->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!n->library) FAIL(DEVICE, "NVML: %s", dlerror());
    find_functions(n);
    if (!n->init || !n->shutdown || !n->error_string || !n->handle_by_pci)
        FAIL(DEVICE, "NVML: %s: expected NVIDIA's management library with nvmlInit_v2", library);
    int error = n->init();
    if (error != NVML_SUCCESS) FAIL(DEVICE, "NVML: %s: %s", library, n->error_string(error));
    n->initialised = true;
    error = n->handle_by_pci(pci, &n->gpu);
    if (error != NVML_SUCCESS) FAIL(DEVICE, "NVML: GPU %s: %s", pci, n->error_string(error));
    double ignored;
    n->counts_energy = nvml_joules(n, &ignored);
    if (!n->counts_energy && !nvml_watts(n, &ignored))
        FAIL(DEVICE, "NVML: GPU %s reports neither energy nor power", pci);
    n->sm_max_mhz = clock_of(n, n->max_clock, NVML_CLOCK_SM);
    n->memory_max_mhz = clock_of(n, n->max_clock, NVML_CLOCK_MEM);
    return STATUS_OK;
}

status nvml_open(nvml **out, const char *library, const char *pci) {
    nvml *n = calloc(1, sizeof *n);
    if (!n) FAIL(MEM, "no memory for NVML");
    status_code st = open_gpu(n, library, pci);
    if (st) nvml_close(n);
    else *out = n;
    return st;
}

void nvml_close(nvml *n) {
    if (!n) return;
    if (n->initialised) n->shutdown();
    if (n->library) dlclose(n->library);
    free(n);
}

bool nvml_counts_energy(const nvml *n) { return n->counts_energy; }

bool nvml_joules(nvml *n, double *joules) {
    unsigned long long mj;
    if (!n->total_energy || n->total_energy(n->gpu, &mj) != NVML_SUCCESS) return false;
    *joules = 1e-3 * (double)mj;
    return true;
}

bool nvml_watts(nvml *n, double *watts) {
    unsigned mw;
    if (!n->power_usage || n->power_usage(n->gpu, &mw) != NVML_SUCCESS) return false;
    *watts = 1e-3 * mw;
    return true;
}

nvml_state nvml_look(nvml *n) {
    unsigned long long bits = 0;
    unsigned celsius;
    nvml_state s = {.known = true,
                    .sm_mhz = clock_of(n, n->clock, NVML_CLOCK_SM),
                    .memory_mhz = clock_of(n, n->clock, NVML_CLOCK_MEM),
                    .sm_max_mhz = n->sm_max_mhz,
                    .memory_max_mhz = n->memory_max_mhz,
                    .temperature_c = -1};
    if (n->temperature && n->temperature(n->gpu, NVML_TEMPERATURE_GPU, &celsius) == NVML_SUCCESS)
        s.temperature_c = (int)celsius;
    s.reasons_known = n->reasons && n->reasons(n->gpu, &bits) == NVML_SUCCESS;
    s.reasons = s.reasons_known ? bits : 0;
    return s;
}

static int lower(int a, int b) { return a < 0 || (b >= 0 && b < a) ? b : a; }

void nvml_merge(nvml_state *all, const nvml_state *one) {
    if (!one->known) return;
    if (!all->known) {
        *all = *one;
        return;
    }
    all->reasons_known |= one->reasons_known;
    all->reasons |= one->reasons;
    all->sm_mhz = lower(all->sm_mhz, one->sm_mhz);
    all->sm_max_mhz = lower(all->sm_max_mhz, one->sm_max_mhz);
    all->memory_mhz = lower(all->memory_mhz, one->memory_mhz);
    all->memory_max_mhz = lower(all->memory_max_mhz, one->memory_max_mhz);
    if (one->temperature_c > all->temperature_c) all->temperature_c = one->temperature_c;
}
