#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/comm.h"

#ifdef TALLY_CUDA
#include "parallel/comm_staged.h"
#include "runtime/cuda.h"
#include "runtime/log.h"
#ifdef TALLY_NCCL
#include "parallel/comm_nccl.h"
#endif

enum { STAGING_BYTES = 64 << 20 };
#endif

/* what placement does not know before the device is open */
typedef struct {
    int kind;
    char pci[32];
} opened_device;

static const char *kind_of(const placement_rank *p) { return p->kind == DEVICE_CPU ? "CPU" : "GPU"; }

static status add_devices(comm *host, const device *dev) {
    placement *p = host->placement;
    opened_device mine = {.kind = (int)dev->kind}, *all = calloc((size_t)host->ranks, sizeof *all);
    if (!all) FAIL(MEM, "no memory for the devices of %d ranks", host->ranks);
    snprintf(mine.pci, sizeof mine.pci, "%s", device_pci(dev));
    status_code st = comm_allgather_host(host, all, &mine, sizeof mine);
    for (int r = 0; r < host->ranks && !st; r++) {
        p->all[r].kind = all[r].kind;
        snprintf(p->all[r].pci, sizeof p->all[r].pci, "%s", all[r].pci);
    }
    free(all);
    TRY(st);
    for (int r = 1; r < host->ranks; r++)
        if (p->all[r].kind != p->all[0].kind)
            FAIL(ARG, "--device: rank 0 (%s) is on a %s, rank %d (%s) on a %s; expected the same kind for all",
                 p->all[0].process.host, kind_of(&p->all[0]), r, p->all[r].process.host, kind_of(&p->all[r]));
    return STATUS_OK;
}

#ifdef TALLY_CUDA
/* the first two ranks that share a GPU; first == second: none do */
typedef struct {
    int first, second;
    const placement_rank *at;
} sharing;

static sharing find_sharing(const placement *p) {
    for (int b = 1; b < p->ranks; b++)
        for (int a = 0; a < b; a++)
            if (placement_same_gpu(p, a, b)) return (sharing){a, b, &p->all[a]};
    return (sharing){0};
}

/* On all ranks the same: one that cannot load it keeps all from it. DEVICE: so it is, and the message says why. */
static status find_nccl(comm *host) {
#ifdef TALLY_NCCL
    return comm_agree(host, comm_nccl_find());
#else
    (void)host;
    FAIL(DEVICE, "this tally was built without NCCL");
#endif
}

static status open_nccl(comm **c, comm *host, device *dev) {
#ifdef TALLY_NCCL
    return comm_nccl_open(c, host, dev, STAGING_BYTES);
#else
    (void)c, (void)dev;
    return find_nccl(host);
#endif
}

static status open_staged(comm **c, comm *host, device *dev) { return comm_staged_open(c, host, dev, STAGING_BYTES); }

static status must_open_nccl(comm **c, comm *host, device *dev, const sharing *s) {
    char why[1024];
    if (s->first != s->second)
        FAIL(ARG, "--comm nccl: ranks %d and %d share the GPU %s of %s; expected a GPU a rank, or --comm staged",
             s->first, s->second, s->at->pci, s->at->process.host);
    status_code st = find_nccl(host);
    if (st == STATUS_DEVICE) {
        snprintf(why, sizeof why, "%s", status_message());
        FAIL(ARG, "--comm nccl: %s; expected auto or staged", why);
    }
    TRY(st);
    return open_nccl(c, host, dev);
}

static status open_best(comm **c, comm *host, device *dev, const sharing *s) {
    if (host->ranks == 1) return open_staged(c, host, dev);
    if (s->first != s->second)
        log_line("communication: through host memory, for ranks %d and %d share the GPU %s of %s; slow", s->first,
                 s->second, s->at->pci, s->at->process.host);
    else {
        status_code st = find_nccl(host);
        if (st != STATUS_DEVICE) return st ? st : open_nccl(c, host, dev);
        log_line("communication: through host memory, slow; %s", status_message());
    }
    return open_staged(c, host, dev);
}

static status open_cuda(comm **c, comm *host, device *dev, comm_kind kind) {
    sharing s = find_sharing(host->placement);
    if (kind == COMM_NCCL) return must_open_nccl(c, host, dev, &s);
    if (kind == COMM_AUTO) return open_best(c, host, dev, &s);
    return open_staged(c, host, dev);
}
#endif

static const char *kind_name(comm_kind kind) {
    switch (kind) { COMM_KIND_LIST(CHOICES_RETURN_NAME) }
    return "?";
}

status comm_open_device(comm **c, comm *host, device *dev, comm_kind kind) {
    *c = NULL;
    TRY(add_devices(host, dev));
#ifdef TALLY_CUDA
    if (dev->kind == DEVICE_CUDA) return open_cuda(c, host, dev, kind);
#endif
    if (kind != COMM_AUTO)
        FAIL(ARG, "--comm %s: is between GPUs, and --device is %s; expected auto", kind_name(kind), dev->name);
    host->lent++;
    *c = host;
    return STATUS_OK;
}
