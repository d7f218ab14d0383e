/* Memory is planned before it is allocated. A layout function takes every tensor it needs from an arena. Its first run, on an
 * empty arena, only adds up sizes: that is the memory planner. arena_commit then allocates once, and a second run of the same
 * function gets the pointers. Tensors are aligned to 256 bytes. Categories are the rows of the memory table;
 * gemm is what the GEMM library keeps outside the arena: packed weights and workspaces (gemm.h);
 * checkpoint is the memory in which one is written, on a CPU. */
#ifndef TALLY_ARENA_H
#define TALLY_ARENA_H

#include "runtime/device.h"

#define MEMORY_LIST(X)                                                                                                 \
    X(WEIGHTS, "weights")                                                                                              \
    X(MASTER, "master")                                                                                                \
    X(GRADIENTS, "gradients")                                                                                          \
    X(MOMENTS, "moments")                                                                                              \
    X(SLOTS, "slots")                                                                                                  \
    X(ACTIVATIONS, "activations")                                                                                      \
    X(LOGITS, "logits")                                                                                                \
    X(SCRATCH, "scratch")                                                                                              \
    X(GEMM, "gemm")                                                                                                    \
    X(CHECKPOINT, "checkpoint")

typedef enum {
#define X(code, name) MEM_##code,
    MEMORY_LIST(X)
#undef X
        MEM_CATEGORIES
} mem_category;

typedef struct {
    device *dev;
    char *base;  /* NULL while planning */
    size_t used; /* bytes */
    size_t capacity;
    size_t bytes[MEM_CATEGORIES]; /* what was taken, by category */
} arena;

void *arena_take(arena *a, mem_category category, size_t bytes); /* NULL while planning, or for 0 bytes */
/* An ARG error, with both numbers, if the device cannot allocate so much. `whose`: subject of the message. */
status arena_fits(const char *whose, uint64_t bytes, const host_room *room);
/* Allocates what was planned, zeroed, and starts the second run. Too large a plan is an error before anything is allocated. */
status arena_commit(arena *a, device *dev);
void arena_free(arena *a);
const char *arena_category_name(mem_category category);

#endif
