#include "parallel/placement.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parallel/affinity.h"
#include "runtime/device.h"
#include "runtime/log.h"

enum { GPUS_MOST = 64 };

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

/* Most ranks are on the host of the previous rank, so it is compared first. */
static int host_of(const placement *p, int rank, const int *first) {
    const process *own = &p->all[rank].process;
    int before = rank > 0 ? p->all[rank - 1].host : 0;
    if (rank > 0 && process_same_host(own, &p->all[first[before]].process)) return before;
    for (int h = 0; h < p->hosts; h++)
        if (process_same_host(own, &p->all[first[h]].process)) return h;
    return p->hosts;
}

status placement_complete(placement *p, int rank) {
    int *first = calloc((size_t)p->ranks, sizeof *first); /* [hosts] the first rank of each */
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

/* The kernel reduces a mask of all CPUs to those that a container or a job's limits allow. The old mask is restored. */
int placement_unbound_cpus(const placement *p) {
    cpu_set_t all, before, unbound;
    if (CPU_COUNT(&p->all[p->rank].cpus) == CPU_SETSIZE || sched_getaffinity(0, sizeof before, &before) != 0) return 0;
    CPU_ZERO(&all);
    for (int i = 0; i < CPU_SETSIZE; i++) CPU_SET(i, &all);
    unbound = before;
    if (sched_setaffinity(0, sizeof all, &all) == 0) {
        sched_getaffinity(0, sizeof unbound, &unbound);
        sched_setaffinity(0, sizeof before, &before);
    }
    return CPU_COUNT(&unbound);
}

/* --- GPUs --- */

static bool is_near(const placement_rank *r, const cpu_set_t *near) {
    cpu_set_t both;
    CPU_AND(&both, &r->cpus, near);
    return CPU_COUNT(&both) > 0;
}

/* to a part of the CPUs that it could use */
static bool is_bound(const placement *p) { return CPU_COUNT(&p->all[p->rank].cpus) != placement_unbound_cpus(p); }

static void log_unknown(const char *why) {
    log_line("affinity: %s; GPUs are taken in the order of ranks, and no rank is bound to CPUs", why);
}

/* Ranks with a free GPU near them choose first, so that another rank does not take that GPU. */
status placement_pick_gpu(int *gpu, const placement *p, const cpu_set_t *near, int count) {
    int *ranks_of = calloc((size_t)count, sizeof *ranks_of); /* [count] how many have chosen it */
    int *choice = malloc((size_t)p->ranks * sizeof *choice); /* [ranks] -1: none yet */
    status_code st = STATUS_OK;
    if (!ranks_of || !choice) FAIL_DONE(MEM, "no memory for the GPUs of %d ranks", p->ranks);
    for (int r = 0; r < p->ranks; r++) choice[r] = -1;
    for (int any = 0; any <= 1; any++)
        for (int r = 0; r < p->ranks; r++) {
            if (choice[r] >= 0 || !placement_same_host(p, r, p->rank)) continue;
            int least = any ? INT_MAX : 1;
            for (int g = 0; g < count; g++) {
                int cost = 2 * ranks_of[g] + !is_near(&p->all[r], &near[g]);
                if (cost < least) least = cost, choice[r] = g;
            }
            if (choice[r] >= 0) ranks_of[choice[r]]++;
        }
    *gpu = choice[p->rank];
done:
    free(ranks_of);
    free(choice);
    return st;
}

static status bind_near(const placement *p, const affinity *a, const char *pci, const cpu_set_t *near) {
    const placement_rank *own = &p->all[p->rank];
    cpu_set_t both;
    CPU_AND(&both, &own->cpus, near);
    if (p->local_ranks == 1 || is_bound(p) || CPU_COUNT(&both) == 0 || CPU_EQUAL(&both, &own->cpus)) return STATUS_OK;
    TRY(affinity_bind(a, &both));
    log_line("affinity: rank 0 is bound to the %d CPUs near its GPU %s", CPU_COUNT(&both), pci);
    return STATUS_OK;
}

status placement_choose_gpu(const placement *p, const char *text, int *gpu) {
    char pci[GPUS_MOST][32];
    cpu_set_t near[GPUS_MOST];
    affinity *a;
    int named = -1, count = device_gpus(text, &named, pci, GPUS_MOST);
    *gpu = p->local_rank;
    if (!count || (p->local_ranks == 1 && (count == 1 || named >= 0 || !is_bound(p)))) return STATUS_OK;
    status_code st = affinity_open(&a);
    if (st == STATUS_DEVICE) {
        log_unknown(status_message());
        return STATUS_OK;
    }
    TRY(st);
    for (int g = 0; g < count; g++)
        if (!affinity_near(a, &near[g], pci[g])) {
            char why[96];
            snprintf(why, sizeof why, "hwloc does not know the GPU %s", pci[g]);
            log_unknown(why);
            goto done;
        }
    if (named < 0) TRY_DONE(placement_pick_gpu(gpu, p, near, count));
    int own = named < 0 ? *gpu : named;
    if (own < count) st = bind_near(p, a, pci[own], &near[own]);
    if (st == STATUS_DEVICE) {
        log_line("affinity: not bound to the CPUs near the GPU: %s", status_message());
        st = STATUS_OK;
    }
done:
    affinity_close(a);
    return st;
}
