#include "train/data/word_counts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 1 << 12, CHUNK = 1 << 20 };

struct word_counts_chunk {
    word_counts_chunk *next;
    size_t used, room;
    char text[];
};

static uint32_t hash(const char *text, size_t bytes) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ bytes, eight;
    for (; bytes >= 8; text += 8, bytes -= 8) {
        memcpy(&eight, text, 8);
        h = (h ^ eight) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    eight = 0;
    memcpy(&eight, text, bytes);
    h = (h ^ eight) * 0xff51afd7ed558ccdu;
    return (uint32_t)(h ^ h >> 32);
}

static status grow(word_counts *w) {
    if (w->count >= UINT32_MAX / 2) FAIL(DATA, "the text has more than %ld different words", w->count);
    i64 room = w->room ? 2 * w->room : SMALLEST;
    size_t size = 2 * (size_t)room;
    word_count *words = realloc(w->words, (size_t)room * sizeof *words);
    if (words) w->words = words;
    uint32_t *table = words ? calloc(size, sizeof *table) : NULL;
    if (!table) FAIL(MEM, "no memory for %ld different words", room);
    free(w->table);
    w->table = table;
    w->mask = size - 1;
    w->room = room;
    for (i64 i = 0; i < w->count; i++) {
        size_t at = w->words[i].hash & w->mask;
        while (table[at]) at = (at + 1) & w->mask;
        table[at] = (uint32_t)i + 1;
    }
    return STATUS_OK;
}

static status store(word_counts *w, const char **stored, const char *text, size_t bytes) {
    word_counts_chunk *c = w->chunks;
    if (!c || c->room - c->used < bytes) {
        size_t room = bytes > CHUNK ? bytes : CHUNK;
        c = malloc(sizeof *c + room);
        if (!c) FAIL(MEM, "no memory for the text of %ld different words", w->count);
        *c = (word_counts_chunk){.next = w->chunks, .room = room};
        w->chunks = c;
    }
    *stored = memcpy(c->text + c->used, text, bytes);
    c->used += bytes;
    return STATUS_OK;
}

status word_counts_add(word_counts *w, const char *text, size_t bytes, i64 times) {
    if (w->count == w->room) TRY(grow(w));
    uint32_t h = hash(text, bytes);
    size_t at = h & w->mask;
    for (; w->table[at]; at = (at + 1) & w->mask) {
        word_count *word = &w->words[w->table[at] - 1];
        if (word->hash != h || word->bytes != bytes || memcmp(word->text, text, bytes) != 0) continue;
        word->times += times;
        return STATUS_OK;
    }
    const char *stored;
    TRY(store(w, &stored, text, bytes));
    w->words[w->count++] = (word_count){.text = stored, .bytes = (uint32_t)bytes, .hash = h, .times = times};
    w->table[at] = (uint32_t)w->count;
    return STATUS_OK;
}

void word_counts_free(word_counts *w) {
    for (word_counts_chunk *c = w->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(w->words);
    free(w->table);
    *w = (word_counts){0};
}
