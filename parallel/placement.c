#include "parallel/placement.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

status placement_open(placement **opened, int ranks) {
    placement *p = calloc(1, sizeof *p);
    *opened = NULL;
    if (p) p->all = calloc((size_t)ranks, sizeof *p->all);
    if (!p || !p->all) {
        placement_close(p);
        FAIL(MEM, "no memory for the placement of %d ranks", ranks);
    }
    p->ranks = ranks;
    *opened = p;
    return STATUS_OK;
}

void placement_close(placement *p) {
    if (!p) return;
    free(p->all);
    free(p);
}

placement_rank placement_self(void) {
    placement_rank own = {.process = process_self()};
    if (sched_getaffinity(0, sizeof own.cpus, &own.cpus) != 0)
        for (int i = 0; i < CPU_SETSIZE; i++) CPU_SET(i, &own.cpus);
    return own;
}

/* Most ranks are on the host of the rank before them. */
static int host_of(const placement *p, int rank, const int *first) {
    const process *own = &p->all[rank].process;
    int before = rank > 0 ? p->all[rank - 1].host : 0;
    if (rank > 0 && process_same_host(own, &p->all[first[before]].process)) return before;
    for (int h = 0; h < p->hosts; h++)
        if (process_same_host(own, &p->all[first[h]].process)) return h;
    return p->hosts;
}

status placement_complete(placement *p, int rank) {
    int *first = calloc((size_t)p->ranks, sizeof *first); /* rank of every host */
    if (!first) FAIL(MEM, "no memory for the hosts of %d ranks", p->ranks);
    p->rank = rank;
    p->hosts = 0;
    for (int r = 0; r < p->ranks; r++) {
        int h = p->all[r].host = host_of(p, r, first);
        if (h == p->hosts) first[p->hosts++] = r;
    }
    free(first);
    p->local_rank = p->local_ranks = 0;
    for (int r = 0; r < p->ranks; r++) {
        if (!placement_same_host(p, r, rank)) continue;
        p->local_rank += r < rank;
        p->local_ranks++;
    }
    return STATUS_OK;
}

bool placement_same_host(const placement *p, int a, int b) { return p->all[a].host == p->all[b].host; }

bool placement_same_gpu(const placement *p, int a, int b) {
    return placement_same_host(p, a, b) && p->all[a].pci[0] && strcmp(p->all[a].pci, p->all[b].pci) == 0;
}

int placement_cpus(const placement *p) {
    int online = (int)sysconf(_SC_NPROCESSORS_ONLN), own = CPU_COUNT(&p->all[p->rank].cpus);
    return own < online ? own : online;
}

int placement_sharing_cpus(const placement *p) {
    int sharing = 0;
    for (int r = 0; r < p->ranks; r++) {
        cpu_set_t both;
        CPU_AND(&both, &p->all[r].cpus, &p->all[p->rank].cpus);
        sharing += placement_same_host(p, r, p->rank) && CPU_COUNT(&both) > 0;
    }
    return sharing;
}
