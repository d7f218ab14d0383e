/* How much CPU time and memory this process may use. In a container the limits of its cgroup and of every cgroup above it
 * apply (version 1, version 2 or both); the tightest one counts. */
#ifndef TALLY_HOST_H
#define TALLY_HOST_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    double cpus;      /* CPU seconds per second that the quota allows; INFINITY without a quota */
    char group[1024]; /* folder of the cgroup that sets the quota; "" without one */
} host_quota;

typedef struct {
    /* bytes; UINT64_MAX where there is no limit. left includes the file cache that the kernel can drop */
    uint64_t left, limit;
    char what[1024]; /* what sets the limit, for messages: "cgroup FOLDER", "ulimit -v", "this machine" */
} host_room;

host_quota host_cpu_quota(void);

/* How many threads to use with a quota of `cpus`: the nearest whole number, at least 1; INT_MAX without a quota. Threads
 * that wait for each other at every GEMM gain nothing from a small part of a CPU: with a quota of 1.2, two threads took 1.5
 * times as long as one; with 1.5, two were faster. */
int host_whole_cpus(double cpus);

/* The tightest of the hard limits: the cgroups' memory limits, ulimit -v, ulimit -d, and the machine's memory with its swap.
 * A cgroup's swap does not count: a training step touches all of its memory and would swap it in and out every time. */
host_room host_memory(void);
/* MemAvailable of /proc/meminfo: bytes that can be allocated without swapping; UINT64_MAX: not known */
uint64_t host_available(void);

/* What this process itself takes of the machine's memory, bytes; 0 if unknown. Pages of files are left out: those of the program, of
 * libraries and of mapped data, which the kernel can drop, and memory shared with other processes. peak: the most since the start
 * or since host_restart_peak; computed with the pages of files now, so less by those that came after the peak. */
typedef struct {
    uint64_t now, peak;
} host_used;
host_used host_process(void);
bool host_restart_peak(void); /* peak = now; false: the kernel does not allow it, and peak is that since the start */

/* The number of ranks on this host, which share its quota and memory evenly. 1 until it is set. */
void host_set_ranks(int ranks);
int host_ranks(void);

/* for tests: `root` takes the place of "/" */
host_quota host_cpu_quota_at(const char *root);
host_room host_memory_at(const char *root);
uint64_t host_available_at(const char *root);
host_used host_process_at(const char *root);
bool host_restart_peak_at(const char *root);

#endif
