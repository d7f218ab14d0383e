#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/comm.h"
#include "parallel/peer.h"

#ifdef TALLY_CUDA
#include "parallel/comm_staged.h"
#include "runtime/cuda.h"
#include "runtime/log.h"
#ifdef TALLY_NCCL
#include "parallel/comm_nccl.h"
#endif

enum { STAGING_BYTES = 64 << 20 };

/* where a rank computes */
typedef struct {
    peer process;
    char pci[32];
} place;

/* the first two ranks that share a GPU; first == second: none do */
typedef struct {
    int first, second;
    place at;
} sharing;

static status find_sharing(sharing *s, comm *host, const device *dev) {
    place mine = {.process = peer_self()}, *all = calloc((size_t)host->ranks, sizeof *all);
    if (!all) FAIL(MEM, "%d ranks", host->ranks);
    *s = (sharing){0};
    snprintf(mine.pci, sizeof mine.pci, "%s", cuda_of(dev)->pci);
    status_code st = comm_exchange(host, all, &mine, sizeof mine);
    for (int b = 1; !st && s->first == s->second && b < host->ranks; b++)
        for (int a = 0; s->first == s->second && a < b; a++)
            if (strcmp(all[a].pci, all[b].pci) == 0 && peer_same_host(&all[a].process, &all[b].process))
                *s = (sharing){a, b, all[a]};
    free(all);
    return st;
}

static status open_nccl(comm **c, comm *host, device *dev) {
#ifdef TALLY_NCCL
    return comm_open_nccl(c, host, dev, STAGING_BYTES);
#else
    (void)c, (void)host, (void)dev;
    FAIL(ARG, "--comm nccl: this tally was built without NCCL; expected auto or staged");
#endif
}

static bool has_nccl(void) {
#ifdef TALLY_NCCL
    return true;
#else
    return false;
#endif
}

static status open_cuda(comm **c, comm *host, device *dev, const char *kind) {
    bool automatic = strcmp(kind, "auto") == 0;
    sharing s;
    TRY(find_sharing(&s, host, dev));
    bool shared = s.first != s.second, alone = host->ranks == 1;
    if (strcmp(kind, "nccl") == 0 && shared)
        FAIL(ARG, "--comm nccl: ranks %d and %d share the GPU %s of %s; expected a GPU a rank, or --comm staged",
             s.first, s.second, s.at.pci, s.at.process.host);
    if (strcmp(kind, "nccl") == 0 || (automatic && has_nccl() && !shared && !alone)) return open_nccl(c, host, dev);
    if (automatic && shared)
        log_line("communication: through host memory, for ranks %d and %d share the GPU %s of %s; slow", s.first,
                 s.second, s.at.pci, s.at.process.host);
    else if (automatic && !alone)
        log_line("communication: through host memory, for this tally was built without NCCL; slow");
    return comm_open_staged(c, host, dev, STAGING_BYTES);
}
#endif

status comm_open_device(comm **c, comm *host, device *dev, const char *kind) {
    *c = NULL;
    if (strcmp(kind, "auto") != 0 && strcmp(kind, "nccl") != 0 && strcmp(kind, "staged") != 0)
        FAIL(ARG, "--comm %s: expected auto, nccl or staged", kind);
#ifdef TALLY_CUDA
    if (dev->kind == DEVICE_CUDA) return open_cuda(c, host, dev, kind);
#endif
    if (strcmp(kind, "auto") != 0)
        FAIL(ARG, "--comm %s: is between GPUs, and --device is %s; expected auto", kind, dev->name);
    host->lent++;
    *c = host;
    return STATUS_OK;
}
