/* Memory is laid out before it is taken. A layout function takes every tensor it needs from an arena; run first on an
 * empty arena it only adds up (that is the memory planner), then arena_commit allocates once and the same function, run
 * again, gets pointers. Tensors are aligned to 256 bytes. Categories make the table that the bill prints. */
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
    X(SCRATCH, "scratch")

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
/* Whether the device can still allocate so much; if not, an ARG error with both numbers. `whose` begins the message. */
status arena_fits(const char *whose, uint64_t bytes, const host_room *room);
/* Allocates what was planned, zeroed, and starts the second pass. What does not fit is refused before any is taken. */
status arena_commit(arena *a, device *dev);
void arena_free(arena *a);
const char *arena_category_name(mem_category category);

#endif
