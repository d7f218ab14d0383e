#include "parallel/affinity.h"

#include <errno.h>
#include <hwloc.h>
#include <hwloc/glibc-sched.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct affinity {
    hwloc_topology_t topology;
};

status affinity_open(affinity **opened) {
    affinity *a = calloc(1, sizeof *a);
    *opened = NULL;
    if (!a || hwloc_topology_init(&a->topology) != 0) {
        free(a);
        FAIL(MEM, "no memory for hwloc's topology");
    }
    /* PCI devices, but no caches, and no OS devices: for those hwloc's plugins would initialise CUDA and NVML */
    hwloc_topology_set_cache_types_filter(a->topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_icache_types_filter(a->topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_io_types_filter(a->topology, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    hwloc_topology_set_type_filter(a->topology, HWLOC_OBJ_OS_DEVICE, HWLOC_TYPE_FILTER_KEEP_NONE);
    if (hwloc_topology_load(a->topology) != 0) {
        int error = errno;
        affinity_close(a);
        FAIL(DEVICE, "hwloc: %s", strerror(error));
    }
    *opened = a;
    return STATUS_OK;
}

void affinity_close(affinity *a) {
    if (!a) return;
    hwloc_topology_destroy(a->topology);
    free(a);
}

bool affinity_near(const affinity *a, cpu_set_t *near, const char *pci) {
    hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(a->topology, pci);
    hwloc_obj_t place = device ? hwloc_get_non_io_ancestor_obj(a->topology, device) : NULL;
    if (!place || hwloc_bitmap_last(place->cpuset) >= CPU_SETSIZE) return false;
    return hwloc_cpuset_to_glibc_sched_affinity(a->topology, place->cpuset, near, sizeof *near) == 0;
}

status affinity_bind(const affinity *a, const cpu_set_t *cpus) {
    if (!hwloc_topology_is_thissystem(a->topology)) FAIL(DEVICE, "hwloc: HWLOC_XMLFILE describes another machine");
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (!set) FAIL(MEM, "no memory for a set of CPUs");
    int failed = hwloc_cpuset_from_glibc_sched_affinity(a->topology, set, cpus, sizeof *cpus) != 0 ||
                 hwloc_set_cpubind(a->topology, set, HWLOC_CPUBIND_PROCESS) != 0;
    int error = errno;
    hwloc_bitmap_free(set);
    if (failed) FAIL(DEVICE, "hwloc: %s", strerror(error));
    if (CPU_COUNT(cpus) < omp_get_max_threads()) omp_set_num_threads(CPU_COUNT(cpus));
    return STATUS_OK;
}
