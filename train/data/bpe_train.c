#include "train/data/bpe_train.h"

#include <stdlib.h>
#include <string.h>

#include "train/data/byte_level.h"
#include "train/data/unicode.h"

/* The words as tokens, end to end: word i has `length[i]` of them at tokens + start[i]. */
typedef struct {
    int32_t *tokens;
    size_t *start;
    uint32_t *length;
    const word_count *words;
} word_pool;

typedef struct {
    uint32_t *list;
    uint32_t count, room;
} word_list; /* ascending numbers of words */

/* A pair of tokens, ever seen. `found`: words in which it is new, until they go into the heap. */
typedef struct {
    uint64_t key; /* left << 32 | right */
    i64 times;
    i64 merge; /* its place in the list of merges; -1: none */
    word_list found;
    bool changed; /* is in the list of changed pairs */
} pair;

/* the heap's: the pair occurred `times` times when this was added, among others in these words */
typedef struct {
    uint64_t key;
    i64 times;
    word_list in;
} candidate;

typedef struct {
    bpe_tokens *t;
    word_pool pool;
    pair *pairs; /* in the order in which they were seen */
    i64 pair_count, pair_room;
    uint32_t *table; /* index in `pairs` + 1; 0 where it is empty */
    size_t mask;
    uint32_t *changed; /* indices in `pairs` */
    i64 changed_count, changed_room;
    candidate *heap;
    i64 heap_count, heap_room;
    i64 merge_room;
} training;

/* ---- growing arrays ---- */

/* array: the address of a pointer */
static status room_for(void *array, i64 *room, i64 count, size_t size, const char *what) {
    if (count < *room) return STATUS_OK;
    i64 larger = *room ? 2 * *room : 64;
    void *old;
    memcpy(&old, array, sizeof old);
    void *grown = realloc(old, (size_t)larger * size);
    if (!grown) FAIL(MEM, "no memory for %ld %s", larger, what);
    memcpy(array, &grown, sizeof grown);
    *room = larger;
    return STATUS_OK;
}

static status add_word(word_list *l, uint32_t word) {
    if (l->count && l->list[l->count - 1] == word) return STATUS_OK;
    if (l->count == l->room) {
        uint32_t room = l->room ? 2 * l->room : 2;
        uint32_t *grown = realloc(l->list, room * sizeof *grown);
        if (!grown) FAIL(MEM, "no memory for a list of %u words", room);
        l->list = grown;
        l->room = room;
    }
    l->list[l->count++] = word;
    return STATUS_OK;
}

/* ---- pairs ---- */

static size_t place_of(uint64_t key) { return (size_t)((key * 0x9e3779b97f4a7c15u) >> 24); }

static status grow_table(training *t) {
    size_t size = t->table ? 2 * (t->mask + 1) : 1 << 12;
    uint32_t *table = calloc(size, sizeof *table);
    if (!table) FAIL(MEM, "no memory for a table of %zu pairs", size);
    free(t->table);
    t->table = table;
    t->mask = size - 1;
    for (i64 i = 0; i < t->pair_count; i++) {
        size_t at = place_of(t->pairs[i].key) & t->mask;
        while (table[at]) at = (at + 1) & t->mask;
        table[at] = (uint32_t)i + 1;
    }
    return STATUS_OK;
}

static status find_pair(training *t, pair **found, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)left << 32 | (uint32_t)right;
    if (2 * (size_t)t->pair_count >= t->mask) TRY(grow_table(t));
    size_t at = place_of(key) & t->mask;
    for (; t->table[at]; at = (at + 1) & t->mask) {
        *found = &t->pairs[t->table[at] - 1];
        if ((*found)->key == key) return STATUS_OK;
    }
    TRY(room_for(&t->pairs, &t->pair_room, t->pair_count, sizeof *t->pairs, "pairs of tokens"));
    *found = &t->pairs[t->pair_count++];
    **found = (pair){.key = key, .merge = -1};
    t->table[at] = (uint32_t)t->pair_count;
    return STATUS_OK;
}

/* word: where the pair is new, `times` times; that of a pair that is lost is not looked at */
static status count_pair(training *t, int32_t left, int32_t right, i64 times, uint32_t word) {
    pair *p;
    TRY(find_pair(t, &p, left, right));
    p->times += times;
    if (times < 0) return STATUS_OK;
    if (!p->changed) {
        TRY(room_for(&t->changed, &t->changed_room, t->changed_count, sizeof *t->changed, "pairs of tokens"));
        t->changed[t->changed_count++] = (uint32_t)(p - t->pairs);
        p->changed = true;
    }
    return add_word(&p->found, word);
}

/* ---- the heap: the most frequent pair is on top ---- */

static bool before(const candidate *a, const candidate *b) {
    return a->times != b->times ? a->times > b->times : a->key < b->key;
}

static void sink(training *t, candidate c) {
    i64 at = 0;
    for (i64 child; (child = 2 * at + 1) < t->heap_count; at = child) {
        if (child + 1 < t->heap_count && before(&t->heap[child + 1], &t->heap[child])) child++;
        if (!before(&t->heap[child], &c)) break;
        t->heap[at] = t->heap[child];
    }
    t->heap[at] = c;
}

static status push(training *t, candidate c) {
    TRY(room_for(&t->heap, &t->heap_room, t->heap_count, sizeof *t->heap, "pairs of tokens"));
    i64 at = t->heap_count++;
    for (; at > 0 && before(&c, &t->heap[(at - 1) / 2]); at = (at - 1) / 2) t->heap[at] = t->heap[(at - 1) / 2];
    t->heap[at] = c;
    return STATUS_OK;
}

static void drop_top(training *t) {
    free(t->heap[0].in.list);
    if (--t->heap_count > 0) sink(t, t->heap[t->heap_count]);
}

/* every pair that is new somewhere becomes a candidate */
static status push_changed(training *t) {
    for (i64 i = 0; i < t->changed_count; i++) {
        pair *p = &t->pairs[t->changed[i]];
        if (p->times > 0) TRY(push(t, (candidate){.key = p->key, .times = p->times, .in = p->found}));
        else free(p->found.list);
        p->found = (word_list){0};
        p->changed = false;
    }
    t->changed_count = 0;
    return STATUS_OK;
}

/* ---- words as tokens ---- */

static status fill_pool(training *t, const word_counts *w) {
    word_pool *p = &t->pool;
    size_t bytes = 0, many = (size_t)w->count + 1;
    int32_t id[256];
    for (int b = 0; b < 256; b++) {
        char name[4];
        id[b] = vocabulary_find(&t->t->tokens, name, byte_level_write(name, &(char){(char)b}, 1));
    }
    for (i64 i = 0; i < w->count; i++) bytes += w->words[i].bytes;
    p->words = w->words;
    p->tokens = malloc((bytes + 1) * sizeof *p->tokens);
    p->start = malloc(many * sizeof *p->start);
    p->length = malloc(many * sizeof *p->length);
    if (!p->tokens || !p->start || !p->length) FAIL(MEM, "no memory for %ld words of %zu bytes", w->count, bytes);
    size_t used = 0;
    for (i64 i = 0; i < w->count; i++) {
        p->start[i] = used;
        p->length[i] = w->words[i].bytes;
        for (uint32_t k = 0; k < p->length[i]; k++) p->tokens[used++] = id[(unsigned char)w->words[i].text[k]];
    }
    return STATUS_OK;
}

static status count_pairs(training *t, i64 words) {
    for (i64 i = 0; i < words; i++) {
        const int32_t *tokens = t->pool.tokens + t->pool.start[i];
        for (uint32_t k = 0; k + 1 < t->pool.length[i]; k++)
            TRY(count_pair(t, tokens[k], tokens[k + 1], t->pool.words[i].times, (uint32_t)i));
    }
    return push_changed(t);
}

/* left, right become `merged` in the word; the pairs with their neighbours are lost and won */
static status merge_in_word(training *t, uint32_t word, learned_merge m, int32_t merged) {
    int32_t *tokens = t->pool.tokens + t->pool.start[word];
    uint32_t length = t->pool.length[word], to = 0;
    i64 times = t->pool.words[word].times;
    for (uint32_t from = 0; from < length; to++) {
        if (tokens[from] != m.left || from + 1 == length || tokens[from + 1] != m.right) {
            tokens[to] = tokens[from++];
            continue;
        }
        if (to > 0) {
            TRY(count_pair(t, tokens[to - 1], m.left, -times, word));
            TRY(count_pair(t, tokens[to - 1], merged, times, word));
        }
        from += 2;
        if (from < length) {
            TRY(count_pair(t, m.right, tokens[from], -times, word));
            TRY(count_pair(t, merged, tokens[from], times, word));
        }
        tokens[to] = merged;
    }
    t->pool.length[word] = to;
    return STATUS_OK;
}

/* ---- merges ---- */

/* the token that left and right make, which may exist */
static status merged_token(training *t, learned_merge m, int32_t *id) {
    vocabulary *tokens = &t->t->tokens;
    const char *left = vocabulary_name(tokens, m.left), *right = vocabulary_name(tokens, m.right);
    size_t l = strlen(left), r = strlen(right);
    char *name = malloc(l + r + 1);
    if (!name) FAIL(MEM, "no memory for a token of %zu bytes", l + r);
    memcpy(name, left, l);
    memcpy(name + l, right, r);
    status_code st = STATUS_OK;
    *id = vocabulary_find(tokens, name, l + r);
    if (*id < 0) {
        *id = (int32_t)tokens->size;
        st = vocabulary_add(tokens, *id, name, l + r);
    }
    free(name);
    return st;
}

static status add_merge(training *t, const candidate *c, learned_merge m) {
    pair *p;
    TRY(find_pair(t, &p, m.left, m.right));
    TRY(room_for(&t->t->merges, &t->merge_room, t->t->merge_count, sizeof m, "merges"));
    if (p->merge >= 0) t->t->merges[p->merge].left = -1; /* it takes the later place */
    p->merge = t->t->merge_count;
    t->t->merges[t->t->merge_count++] = m;
    t->t->least = c->times;
    return STATUS_OK;
}

static status merge_top(training *t) {
    candidate *c = &t->heap[0];
    learned_merge m = {(int32_t)(c->key >> 32), (int32_t)(uint32_t)c->key};
    int32_t merged;
    TRY(merged_token(t, m, &merged));
    TRY(add_merge(t, c, m));
    for (uint32_t i = 0; i < c->in.count; i++) TRY(merge_in_word(t, c->in.list[i], m, merged));
    drop_top(t);
    return push_changed(t);
}

static status learn(training *t, i64 size, i64 least) {
    while (t->t->tokens.size < size && t->heap_count > 0) {
        candidate top = t->heap[0];
        pair *p;
        TRY(find_pair(t, &p, (int32_t)(top.key >> 32), (int32_t)(uint32_t)top.key));
        if (p->times != top.times) { /* it has become rarer since, or more frequent */
            top.times = p->times;
            sink(t, top);
            continue;
        }
        if (top.times < 1 || top.times < least) break;
        TRY(merge_top(t));
    }
    i64 kept = 0;
    for (i64 i = 0; i < t->t->merge_count; i++)
        if (t->t->merges[i].left >= 0) t->t->merges[kept++] = t->t->merges[i];
    t->t->merge_count = kept;
    return STATUS_OK;
}

static status add_bytes(vocabulary *tokens) {
    for (int32_t c = 0; c < 512; c++) {
        char name[4];
        size_t bytes = (size_t)unicode_write(name, c);
        if (byte_level_byte(c) >= 0 && vocabulary_find(tokens, name, bytes) < 0)
            TRY(vocabulary_add(tokens, tokens->size, name, bytes));
    }
    return STATUS_OK;
}

status bpe_train(bpe_tokens *tokens, const word_counts *w, i64 size, i64 least) {
    training t = {.t = tokens};
    status_code st = STATUS_OK;
    TRY_DONE(add_bytes(&tokens->tokens));
    TRY_DONE(fill_pool(&t, w));
    TRY_DONE(count_pairs(&t, w->count));
    TRY_DONE(learn(&t, size, least));
done:
    for (i64 i = 0; i < t.pair_count; i++) free(t.pairs[i].found.list);
    for (i64 i = 0; i < t.heap_count; i++) free(t.heap[i].in.list);
    free(t.heap);
    free(t.pairs);
    free(t.table);
    free(t.changed);
    free(t.pool.tokens);
    free(t.pool.start);
    free(t.pool.length);
    return st;
}

void bpe_train_free(bpe_tokens *t) {
    vocabulary_free(&t->tokens);
    free(t->merges);
    *t = (bpe_tokens){0};
}
