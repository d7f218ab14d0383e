#include "train/data/vocabulary.h"

#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 1024, LONGEST = 1 << 20 };

static size_t hash(const char *name, size_t bytes) {
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < bytes; i++) h = (h ^ (unsigned char)name[i]) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

const char *vocabulary_name(const vocabulary *v, i64 id) {
    return id >= 0 && id < v->size && v->starts[id] ? v->pool + v->starts[id] - 1 : NULL;
}

/* the place in the table where the name is, or would be */
static size_t place(const vocabulary *v, const char *name, size_t bytes) {
    size_t at = hash(name, bytes) & v->mask;
    for (; v->table[at] >= 0; at = (at + 1) & v->mask) {
        int32_t id = v->table[at];
        if (v->bytes[id] == bytes && memcmp(vocabulary_name(v, id), name, bytes) == 0) break;
    }
    return at;
}

int32_t vocabulary_find(const vocabulary *v, const char *name, size_t bytes) {
    return v->table ? v->table[place(v, name, bytes)] : -1;
}

static status grow_table(vocabulary *v) {
    size_t size = v->table ? 2 * (v->mask + 1) : SMALLEST;
    int32_t *larger = malloc(size * sizeof *larger);
    if (!larger) FAIL(MEM, "no memory for a vocabulary of %ld tokens", v->count);
    memset(larger, -1, size * sizeof *larger);
    free(v->table);
    v->table = larger;
    v->mask = size - 1;
    for (i64 id = 0; id < v->size; id++) {
        const char *name = vocabulary_name(v, id);
        if (name) v->table[place(v, name, v->bytes[id])] = (int32_t)id;
    }
    return STATUS_OK;
}

static status grow_ids(vocabulary *v, i64 id) {
    i64 room = v->room ? v->room : SMALLEST;
    while (room <= id) room *= 2;
    size_t *larger = realloc(v->starts, (size_t)room * sizeof *larger);
    if (!larger) FAIL(MEM, "no memory for a vocabulary of %ld ids", room);
    memset(larger + v->room, 0, (size_t)(room - v->room) * sizeof *larger);
    v->starts = larger;
    uint32_t *lengths = realloc(v->bytes, (size_t)room * sizeof *lengths);
    if (!lengths) FAIL(MEM, "no memory for a vocabulary of %ld ids", room);
    v->bytes = lengths;
    v->room = room;
    return STATUS_OK;
}

static status grow_pool(vocabulary *v, size_t bytes) {
    size_t capacity = v->capacity ? v->capacity : SMALLEST;
    while (capacity - v->used < bytes) capacity *= 2;
    char *larger = realloc(v->pool, capacity);
    if (!larger) FAIL(MEM, "no memory for the %zu bytes of a vocabulary", capacity);
    v->pool = larger;
    v->capacity = capacity;
    return STATUS_OK;
}

status vocabulary_add(vocabulary *v, i64 id, const char *name, size_t bytes) {
    if (id < 0 || id >= VOCABULARY_MOST)
        FAIL(DATA, "the token \"%.*s\" has the id %ld, expected 0 to %d", (int)(bytes < 40 ? bytes : 40), name, id,
             VOCABULARY_MOST - 1);
    if (vocabulary_name(v, id))
        FAIL(DATA, "the tokens \"%.40s\" and \"%.*s\" have the same id %ld", vocabulary_name(v, id),
             (int)(bytes < 40 ? bytes : 40), name, id);
    if (bytes > LONGEST)
        FAIL(DATA, "the token with the id %ld is %zu bytes long, expected at most %d", id, bytes, LONGEST);
    if (!v->table || 2 * (size_t)v->count > v->mask) TRY(grow_table(v));
    size_t at = place(v, name, bytes);
    if (v->table[at] >= 0)
        FAIL(DATA, "the token \"%.*s\" has two ids, %d and %ld", (int)(bytes < 40 ? bytes : 40), name, v->table[at],
             id);
    if (id >= v->room) TRY(grow_ids(v, id));
    if (!v->pool || v->capacity - v->used <= bytes) TRY(grow_pool(v, bytes + 1));
    memcpy(v->pool + v->used, name, bytes);
    v->pool[v->used + bytes] = 0;
    v->starts[id] = v->used + 1;
    v->bytes[id] = (uint32_t)bytes;
    v->used += bytes + 1;
    if (id >= v->size) v->size = id + 1;
    v->table[at] = (int32_t)id;
    v->count++;
    return STATUS_OK;
}

void vocabulary_free(vocabulary *v) {
    free(v->pool);
    free(v->starts);
    free(v->bytes);
    free(v->table);
    *v = (vocabulary){0};
}
