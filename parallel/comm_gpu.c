#include "parallel/comm_gpu.h"

#include <stdio.h>
#include <string.h>

#include "parallel/comm_nccl.h"
#include "parallel/comm_staged.h"
#include "runtime/log.h"

enum { STAGING_BYTES = 64 << 20 };

/* the first two ranks that share a GPU; first == second: no two do */
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

/* The same on all ranks: if one rank cannot load NCCL, none uses it, and the error is DEVICE with the reason. */
static status find_nccl(comm *host) { return comm_agree(host, comm_nccl_find()); }

static status open_nccl(comm **c, comm *host, device *dev) { return comm_nccl_open(c, host, dev, STAGING_BYTES); }

static status open_staged(comm **c, comm *host, device *dev) { return comm_staged_open(c, host, dev, STAGING_BYTES); }

static status must_open_nccl(comm **c, comm *host, device *dev, const sharing *s) {
    char why[1024];
    if (s->first != s->second)
        FAIL(ARG, "--comm nccl: ranks %d and %d share the GPU %s of %s; expected one GPU per rank, or --comm staged",
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
        log_line("communication: through host memory, which is slow: ranks %d and %d share the GPU %s of %s", s->first,
                 s->second, s->at->pci, s->at->process.host);
    else {
        status_code st = find_nccl(host);
        if (st != STATUS_DEVICE) return st ? st : open_nccl(c, host, dev);
        log_line("communication: through host memory, which is slow: %s", status_message());
    }
    return open_staged(c, host, dev);
}

status comm_gpu_open(comm **c, comm *host, device *dev, comm_kind kind) {
    sharing s = find_sharing(host->placement);
    if (kind == COMM_NCCL) return must_open_nccl(c, host, dev, &s);
    if (kind == COMM_AUTO) return open_best(c, host, dev, &s);
    return open_staged(c, host, dev);
}
