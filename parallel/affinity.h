/* Which CPUs are near which GPU, by hwloc. Only affinity.c includes hwloc. It is opened only to choose between GPUs or to
 * bind ranks to the CPUs near them, since hwloc takes about 10 ms to read the machine. sched_getaffinity gives a process's
 * CPUs without it. */
#ifndef TALLY_AFFINITY_H
#define TALLY_AFFINITY_H

#include <sched.h>
#include <stdbool.h>

#include "runtime/status.h"

typedef struct affinity affinity;

status affinity_open(affinity **a); /* DEVICE if hwloc cannot read this machine */
void affinity_close(affinity *a);   /* NULL is allowed */

/* near: the CPUs closest to the device with this PCI bus id. false if hwloc does not know the device, or if one of these
 * CPUs does not fit into a cpu_set_t. */
bool affinity_near(const affinity *a, cpu_set_t *near, const char *pci);
/* Binds all threads of this process to these CPUs, and limits OpenMP's number of threads to their number. */
status affinity_bind(const affinity *a, const cpu_set_t *cpus);

#endif
