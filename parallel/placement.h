/* Where every rank of the job runs: its host, its process, the CPUs that it may use, and its GPU. The ranks exchange this once,
 * when the root communicator opens; comm_open_device adds the devices when they are open. A communicator's parts share its
 * root's placement: rank numbers here are those of the job. */
#ifndef TALLY_PLACEMENT_H
#define TALLY_PLACEMENT_H

#include <sched.h>

#include "parallel/process.h"
#include "runtime/status.h"

typedef struct {
    process process;
    cpu_set_t cpus; /* that this process may run on; every CPU if the machine has more than a cpu_set_t holds */
    int host;       /* hosts are numbered in the order of their first ranks */
    int kind;       /* device_kind, valid when the device is open */
    char pci[32];   /* bus id of the GPU, when it is open; CPU: "" */
} placement_rank;

typedef struct {
    int rank, ranks;
    int hosts;
    int local_rank, local_ranks; /* this rank among the ranks of its host */
    placement_rank *all;         /* [ranks] */
} placement;

/* Allocates. The caller fills all[] with placement_self() of every rank, then calls placement_complete. */
status placement_open(placement **p, int ranks);
void placement_close(placement *p); /* NULL is allowed */
placement_rank placement_self(void);
status placement_complete(placement *p, int rank); /* rank: this process's */

/* a, b: ranks. Ranks on CPUs share no GPU. */
bool placement_same_host(const placement *p, int a, int b);
bool placement_same_gpu(const placement *p, int a, int b);

int placement_cpus(const placement *p);         /* how many CPUs this rank may use */
int placement_sharing_cpus(const placement *p); /* ranks that may use at least one of these CPUs, this rank included */
/* How many CPUs this rank could use if the launcher had bound it to none, or 0 if that is not known. */
int placement_unbound_cpus(const placement *p);

/* The GPU for this rank, of `count`. near: [count] the CPUs near each. If there are enough, each rank of the host gets a GPU
 * of its own, and one near its CPUs if one is free. Ranks that may use all CPUs get GPU local_rank % count. */
status placement_pick_gpu(int *gpu, const placement *p, const cpu_set_t *near, int count);
/* gpu: the argument of device_open(dev, text, threads, gpu). If several ranks share this host and the launcher has bound
 * this one to no CPUs, it is bound to the CPUs near its GPU. If hwloc does not know a GPU, ranks take GPUs in order, none is
 * bound, and rank 0 logs it. */
status placement_choose_gpu(const placement *p, const char *text, int *gpu);

#endif
