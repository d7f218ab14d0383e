/* In the place of libnvidia-ml.so.1: one GPU, of which it tells what stands in the file named by FAKE_NVML_STATE, a
 * "key value" a line, read anew at every call. What is not there this GPU does not support. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };
typedef struct nvmlDevice_st *nvmlDevice_t;

static int text_of(const char *key, char *value, int size) {
    const char *path = getenv("FAKE_NVML_STATE");
    FILE *f = path ? fopen(path, "r") : NULL;
    if (!f) return DRIVER_NOT_LOADED;
    char line[128], name[32], rest[64];
    int result = NOT_SUPPORTED;
    while (result && fgets(line, sizeof line, f))
        if (sscanf(line, "%31s %63s", name, rest) == 2 && strcmp(name, key) == 0) {
            snprintf(value, (size_t)size, "%s", rest);
            result = SUCCESS;
        }
    fclose(f);
    return result;
}

static int number_of(const char *key, unsigned long long *value) {
    char text[64];
    int result = text_of(key, text, sizeof text);
    if (result == SUCCESS) *value = strtoull(text, NULL, 0);
    return result;
}

static int small_number_of(const char *key, unsigned *value) {
    unsigned long long wide;
    int result = number_of(key, &wide);
    if (result == SUCCESS) *value = (unsigned)wide;
    return result;
}

int nvmlInit_v2(void) {
    char pci[64];
    return text_of("pci", pci, sizeof pci);
}

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int error) {
    return error == DRIVER_NOT_LOADED ? "Driver Not Loaded" : error == NOT_FOUND ? "Not Found" : "Not Supported";
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, nvmlDevice_t *gpu) {
    static char only;
    char own[64];
    int result = text_of("pci", own, sizeof own);
    if (result == SUCCESS && strcmp(own, pci) != 0) result = NOT_FOUND;
    if (result == SUCCESS) *gpu = (nvmlDevice_t)(void *)&only;
    return result;
}

int nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t gpu, unsigned long long *mj) {
    (void)gpu;
    return number_of("energy_mj", mj);
}

int nvmlDeviceGetPowerUsage(nvmlDevice_t gpu, unsigned *mw) {
    (void)gpu;
    return small_number_of("power_mw", mw);
}

int nvmlDeviceGetClockInfo(nvmlDevice_t gpu, int type, unsigned *mhz) {
    (void)gpu;
    return small_number_of(type == 1 ? "sm_mhz" : type == 2 ? "memory_mhz" : "other_mhz", mhz);
}

int nvmlDeviceGetMaxClockInfo(nvmlDevice_t gpu, int type, unsigned *mhz) {
    (void)gpu;
    return small_number_of(type == 1 ? "sm_max_mhz" : type == 2 ? "memory_max_mhz" : "other_mhz", mhz);
}

int nvmlDeviceGetTemperature(nvmlDevice_t gpu, int sensor, unsigned *celsius) {
    (void)gpu;
    return small_number_of(sensor == 0 ? "temperature_c" : "other_c", celsius);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t gpu, unsigned long long *bits) {
    (void)gpu;
    return number_of("reasons", bits);
}
