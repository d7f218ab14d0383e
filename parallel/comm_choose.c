#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/comm.h"
#include "parallel/process.h"

#ifdef TALLY_CUDA
#include "parallel/comm_staged.h"
#include "runtime/cuda.h"
#include "runtime/log.h"
#ifdef TALLY_NCCL
#include "parallel/comm_nccl.h"
#endif

enum { STAGING_BYTES = 64 << 20 };
#endif

/* where a rank computes */
typedef struct {
    process process;
    int kind;
    char pci[32]; /* of a GPU */
} place;

static const char *kind_of(const place *p) { return p->kind == DEVICE_CPU ? "CPU" : "GPU"; }

static status find_places(place *all, comm *host, const device *dev) {
    place mine;
    memset(&mine, 0, sizeof mine);
    mine.process = process_self();
    mine.kind = dev->kind;
#ifdef TALLY_CUDA
    if (dev->kind == DEVICE_CUDA) snprintf(mine.pci, sizeof mine.pci, "%s", cuda_of(dev)->pci);
#endif
    TRY(comm_allgather_host(host, all, &mine, sizeof mine));
    for (int r = 1; r < host->ranks; r++)
        if (all[r].kind != all[0].kind)
            FAIL(ARG, "--device: rank 0 (%s) is on a %s, rank %d (%s) on a %s; expected the same kind for all",
                 all[0].process.host, kind_of(&all[0]), r, all[r].process.host, kind_of(&all[r]));
    return STATUS_OK;
}

#ifdef TALLY_CUDA
/* the first two ranks that share a GPU; first == second: none do */
typedef struct {
    int first, second;
    place at;
} sharing;

static sharing find_sharing(const place *all, int ranks) {
    for (int b = 1; b < ranks; b++)
        for (int a = 0; a < b; a++)
            if (strcmp(all[a].pci, all[b].pci) == 0 && process_same_host(&all[a].process, &all[b].process))
                return (sharing){a, b, all[a]};
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
             s->first, s->second, s->at.pci, s->at.process.host);
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
                 s->second, s->at.pci, s->at.process.host);
    else {
        status_code st = find_nccl(host);
        if (st != STATUS_DEVICE) return st ? st : open_nccl(c, host, dev);
        log_line("communication: through host memory, slow; %s", status_message());
    }
    return open_staged(c, host, dev);
}

static status open_cuda(comm **c, comm *host, device *dev, comm_kind kind, const place *all) {
    sharing s = find_sharing(all, host->ranks);
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
    place *all = calloc((size_t)host->ranks, sizeof *all);
    if (!all) FAIL(MEM, "%d ranks", host->ranks);
    status_code st = find_places(all, host, dev);
#ifdef TALLY_CUDA
    if (!st && dev->kind == DEVICE_CUDA) {
        st = open_cuda(c, host, dev, kind, all);
        free(all);
        return st;
    }
#endif
    free(all);
    TRY(st);
    if (kind != COMM_AUTO)
        FAIL(ARG, "--comm %s: is between GPUs, and --device is %s; expected auto", kind_name(kind), dev->name);
    host->lent++;
    *c = host;
    return STATUS_OK;
}
