#include "runtime/arena.h"

#include <assert.h>

void *arena_take(arena *a, mem_category category, size_t bytes) {
    size_t rounded = (bytes + 255) & ~(size_t)255;
    char *memory = a->base && bytes ? a->base + a->used : NULL;
    a->used += rounded;
    a->bytes[category] += rounded;
    assert(!a->base || a->used <= a->capacity); /* both passes must ask for the same */
    return memory;
}

status arena_commit(arena *a, device *dev) {
    void *memory;
    TRY(dev->ops->alloc(dev, &memory, a->used));
    *a = (arena){.dev = dev, .base = memory, .capacity = a->used};
    return STATUS_OK;
}

void arena_free(arena *a) {
    if (a->base) a->dev->ops->free(a->dev, a->base, a->capacity);
    *a = (arena){0};
}

const char *memory_name(mem_category category) {
    static const char *const names[] = {
#define X(code, name) name,
        MEMORY_LIST(X)
#undef X
    };
    return names[category];
}
