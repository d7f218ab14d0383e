/* Where every rank of the job runs: its host, its process, the CPUs that it may use, and its GPU. The ranks exchange this once,
 * when the root communicator opens; comm_open_device adds the devices once they are open. A communicator's parts share its
 * root's placement: rank numbers here are those of the job. */
#ifndef TALLY_PLACEMENT_H
#define TALLY_PLACEMENT_H

#include <sched.h>

#include "parallel/process.h"
#include "runtime/status.h"

typedef struct {
    process process;
    cpu_set_t cpus; /* that this process may run on; every CPU where the machine has more than a cpu_set_t holds */
    int host;       /* hosts are numbered in the order of their first ranks */
    int kind;       /* device_kind, once the device is open */
    char pci[32];   /* bus id of the GPU, once it is open; "" on a CPU */
} placement_rank;

typedef struct {
    int rank, ranks;
    int hosts;
    int local_rank, local_ranks; /* this rank among the ranks of its host */
    placement_rank *all;         /* [ranks] */
} placement;

/* Allocates. The caller fills all[] with placement_self() of every rank, then calls placement_complete. */
status placement_open(placement **p, int ranks);
void placement_close(placement *p); /* NULL is fine */
placement_rank placement_self(void);
status placement_complete(placement *p, int rank); /* rank: this process's */

/* Of two ranks. Two ranks on CPUs share no GPU. */
bool placement_same_host(const placement *p, int a, int b);
bool placement_same_gpu(const placement *p, int a, int b);

int placement_cpus(const placement *p);         /* how many CPUs this rank may use */
int placement_sharing_cpus(const placement *p); /* ranks that may use at least one of these CPUs, this rank included */

#endif
