#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/comm_gpu.h"

/* known only when the device is open */
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

static const char *kind_name(comm_kind kind) {
    switch (kind) { COMM_KIND_LIST(CHOICES_RETURN_NAME) }
    return "?";
}

status comm_open_device(comm **c, comm *host, device *dev, comm_kind kind) {
    *c = NULL;
    TRY(add_devices(host, dev));
    if (dev->kind == DEVICE_CUDA) return comm_gpu_open(c, host, dev, kind);
    if (kind != COMM_AUTO)
        FAIL(ARG, "--comm %s: needs GPUs, but --device is %s; expected auto", kind_name(kind), dev->name);
    host->lent++;
    *c = host;
    return STATUS_OK;
}
