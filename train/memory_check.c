#include "train/memory_check.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/arena.h"
#include "runtime/log.h"
#include "runtime/text.h"

/* bytes: of every rank. The ranks of a host share its memory, those on a GPU the GPU's. */
static status check(const job *j, const device *dev, const uint64_t *bytes, const host_room *room) {
    const placement *p = j->world->placement;
    bool of_host = dev->kind == DEVICE_CPU;
    uint64_t all = 0;
    int sharing = 0;
    char whose[64] = "this run";
    for (int r = 0; r < p->ranks; r++) {
        if (!(of_host ? placement_same_host(p, r, p->rank) : placement_same_gpu(p, r, p->rank))) continue;
        all += bytes[r];
        sharing++;
    }
    if (sharing > 1) snprintf(whose, sizeof whose, "this run, with %d ranks here,", sharing);
    TRY(arena_fits(whose, all, room));
    uint64_t available = host_available();
    if (of_host && all > available)
        log_line("memory: %s needs %s; only %s of this machine's memory is free: it may swap", whose,
                 text_bytes((double)all).text, text_bytes((double)available).text);
    return STATUS_OK;
}

status memory_check_job(const job *j, device *dev, uint64_t bytes) {
    uint64_t *all = calloc((size_t)j->world->ranks, sizeof *all);
    host_room room = {.left = UINT64_MAX};
    status_code st = STATUS_OK;
    if (!all) FAIL(MEM, "no memory for %d ranks", j->world->ranks);
    if (dev->ops->room) TRY_DONE(dev->ops->room(dev, &room)); /* before any rank allocates */
    TRY_DONE(comm_allgather_host(j->world, all, &bytes, sizeof bytes));
    st = comm_agree(j->world, check(j, dev, all, &room));
done:
    free(all);
    return st;
}
