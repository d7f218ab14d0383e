#include "train/memory_check.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/arena.h"
#include "runtime/log.h"
#include "runtime/text.h"

uint64_t memory_check_packed_weights(const device *dev, const model_config *c, dtype t) {
    if (dev->kind != DEVICE_CPU) return 0;
    i64 looked_up = (c->tied ? 0 : c->V * c->C) + (c->learned_positions ? c->context * c->C : 0);
    size_t element = t == BF16 && dev->bf16_products ? 2 : 4;
    return 2 * element * (uint64_t)(model_config_parameters(c) - looked_up);
}

typedef struct {
    int host;
    char pci[32]; /* "": the host's memory */
    uint64_t bytes;
} share;

static bool same_memory(const share *a, const share *b) { return a->host == b->host && strcmp(a->pci, b->pci) == 0; }

static status check(const share *all, int ranks, const share *mine, const host_room *room) {
    uint64_t bytes = 0;
    int sharing = 0;
    char whose[64] = "this run";
    for (int r = 0; r < ranks; r++) {
        if (!same_memory(&all[r], mine)) continue;
        bytes += all[r].bytes;
        sharing++;
    }
    if (sharing > 1) snprintf(whose, sizeof whose, "this run, with %d ranks here,", sharing);
    TRY(arena_fits(whose, bytes, room));
    uint64_t available = host_available();
    if (!mine->pci[0] && bytes > available)
        log_line("memory: %s needs %s; only %s of this machine's memory is free: it may swap", whose,
                 text_bytes((double)bytes).text, text_bytes((double)available).text);
    return STATUS_OK;
}

status memory_check_job(const job *j, device *dev, uint64_t bytes) {
    share mine = {.host = j->host, .bytes = bytes}, *all = calloc((size_t)j->world->ranks, sizeof *all);
    host_room room = {.left = UINT64_MAX};
    status_code st = STATUS_OK;
    if (!all) FAIL(MEM, "%d ranks", j->world->ranks);
    snprintf(mine.pci, sizeof mine.pci, "%s", device_pci(dev));
    if (dev->ops->room) TRY_DONE(dev->ops->room(dev, &room)); /* before any rank allocates */
    TRY_DONE(comm_allgather_host(j->world, all, &mine, sizeof mine));
    st = comm_agree(j->world, check(all, j->world->ranks, &mine, &room));
done:
    free(all);
    return st;
}
