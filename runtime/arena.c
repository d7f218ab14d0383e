#include "runtime/arena.h"

#include <assert.h>

#include "runtime/text.h"

void *arena_take(arena *a, mem_category category, size_t bytes) {
    size_t rounded = (bytes + 255) & ~(size_t)255;
    char *memory = a->base && bytes ? a->base + a->used : NULL;
    a->used += rounded;
    a->bytes[category] += rounded;
    assert(!a->base || a->used <= a->capacity); /* both runs must take the same */
    return memory;
}

status arena_fits(const char *whose, uint64_t bytes, const host_room *room) {
    if (bytes <= room->left) return STATUS_OK;
    FAIL(ARG, "memory: %s needs %s, but %s leaves %s of %s; use a smaller model, batch or sequence, or more memory",
         whose, text_bytes((double)bytes).text, room->what, text_bytes((double)room->left).text,
         text_bytes((double)room->limit).text);
}

status arena_commit(arena *a, device *dev) {
    void *memory;
    host_room room;
    if (dev->ops->room) {
        TRY(dev->ops->room(dev, &room));
        TRY(arena_fits("this model", a->used, &room));
    }
    TRY(dev->ops->alloc(dev, &memory, a->used));
    *a = (arena){.dev = dev, .base = memory, .capacity = a->used};
    return STATUS_OK;
}

void arena_free(arena *a) {
    if (a->base) a->dev->ops->free(a->dev, a->base, a->capacity);
    *a = (arena){0};
}

const char *arena_category_name(mem_category category) {
    static const char *const names[] = {
#define X(code, name) name,
        MEMORY_LIST(X)
#undef X
    };
    return names[category];
}
