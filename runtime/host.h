/* What the system leaves this process of CPU time and memory. A container's limits are those of its cgroup and of every
 * cgroup above it, of version 1, version 2 or both; the tightest one counts. */
#ifndef TALLY_HOST_H
#define TALLY_HOST_H

#include <stdint.h>

typedef struct {
    double cpus;      /* CPU seconds a second that the quota allows; INFINITY without a quota */
    char group[1024]; /* folder of the cgroup whose quota that is; "" without one */
} host_quota;

typedef struct {
    /* bytes; UINT64_MAX where there is no limit. left includes the file cache that the kernel can drop */
    uint64_t left, limit;
    char what[1024]; /* what sets the limit, for messages: "cgroup FOLDER", "ulimit -v", "this machine" */
} host_room;

host_quota host_cpu_quota(void);

/* How many threads to use with so many CPUs: the nearest whole number, at least 1. Threads that wait for each other at
 * every GEMM gain nothing from a small part of a CPU: with a quota of 1.2, two took 1.5 times as long as one; with 1.5, two
 * were faster. INT_MAX without a quota. */
int host_whole_cpus(double cpus);

/* The tightest of what cannot be exceeded: the cgroups' memory limits (swap does not count: a training step touches all of
 * its memory, and would move it to and fro), ulimit -v, ulimit -d, and the machine's memory with its swap. */
host_room host_memory(void);
/* MemAvailable of /proc/meminfo: what can be had without swapping; UINT64_MAX: not known */
uint64_t host_available(void);

/* How many ranks on this host share quota and memory: 1 until told. A rank's part of a quota is the quota divided by it. */
void host_set_ranks(int ranks);
int host_ranks(void);

/* with another folder in the place of "/", for tests */
host_quota host_cpu_quota_at(const char *root);
host_room host_memory_at(const char *root);
uint64_t host_available_at(const char *root);

#endif
