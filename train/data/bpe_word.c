#include <stdlib.h>
#include <string.h>

#include "train/data/bpe_parts.h"
#include "train/data/byte_level.h"
#include "train/data/unicode.h"

enum {
    SHORT = 48, /* symbols of a word whose pairs are searched one by one */
    SMALL_TEXT = 26,
    SMALL_IDS = 9,
    LARGE_TEXT = 94,
    LARGE_IDS = 24,
    SMALL_WORDS = 1 << 16,
    LARGE_WORDS = 1 << 14,
    KEPT = 1 << 16 /* symbols for which memory is kept */
};

/* the words seen last, by their hash. bytes 0: empty */
typedef struct {
    uint8_t bytes, count;
    char text[SMALL_TEXT];
    int32_t ids[SMALL_IDS];
} small_word;
typedef struct {
    uint8_t bytes, count;
    char text[LARGE_TEXT];
    int32_t ids[LARGE_IDS];
} large_word;

/* a pair that may be joined: symbol `at` and its next one */
typedef struct {
    uint32_t rank;
    int32_t at, id;
} candidate;

struct bpe_worker {
    const bpe *b;
    small_word *small; /* [SMALL_WORDS] */
    large_word *large; /* [LARGE_WORDS] */
    char *name;        /* room for the name of the longest token */
    /* of a long word */
    int32_t *ids, *next, *previous;
    candidate *heap;
    size_t heap_count, room, heap_room;
};

status bpe_worker_open(bpe_worker **w, const bpe *b) {
    *w = NULL;
    bpe_worker *opened = calloc(1, sizeof *opened);
    if (!opened) FAIL(MEM, "no memory for an encoder");
    opened->b = b;
    opened->small = calloc(SMALL_WORDS, sizeof *opened->small);
    opened->large = calloc(LARGE_WORDS, sizeof *opened->large);
    opened->name = malloc(2 * b->longest + 1);
    if (!opened->small || !opened->large || !opened->name) {
        bpe_worker_close(opened);
        FAIL(MEM, "no memory for the cache of an encoder");
    }
    *w = opened;
    return STATUS_OK;
}

static void free_long(bpe_worker *w) {
    free(w->ids);
    free(w->next);
    free(w->previous);
    free(w->heap);
    w->ids = w->next = w->previous = NULL;
    w->heap = NULL;
    w->room = w->heap_room = 0;
}

void bpe_worker_close(bpe_worker *w) {
    if (!w) return;
    free_long(w);
    free(w->small);
    free(w->large);
    free(w->name);
    free(w);
}

/* ---- the symbols of a word ---- */

typedef struct {
    int32_t *ids;
    size_t count;
    bool unknown; /* one is held, to be fused with the next */
} symbols;

static void flush_unknown(const bpe *b, symbols *s) {
    if (s->unknown) s->ids[s->count++] = b->o.unknown;
    s->unknown = false;
}

static void add_unknown(const bpe *b, symbols *s) {
    if (b->o.unknown < 0) return;
    if (!b->o.fuse_unknown) flush_unknown(b, s);
    s->unknown = true;
}

static bool has_bytes(const bpe *b, const char *text, int bytes) {
    for (int i = 0; i < bytes; i++)
        if (b->bytes[(unsigned char)text[i]] < 0) return false;
    return b->o.byte_fallback;
}

/* ids: room for a symbol for each byte. As `tokenizers` does it, bytes do not end a run of unknown characters. */
static size_t find_symbols(const bpe *b, int32_t *ids, const char *word, size_t bytes) {
    symbols s = {.ids = ids};
    int length;
    for (size_t i = 0; i < bytes; i += (size_t)length) {
        length = b->o.byte_level ? 1 : unicode_length((unsigned char)word[i]);
        int32_t id = b->o.byte_level ? b->bytes[(unsigned char)word[i]] : b->points[unicode_read(word + i)];
        if (id >= 0) {
            flush_unknown(b, &s);
            s.ids[s.count++] = id;
        } else if (has_bytes(b, word + i, length)) {
            for (int j = 0; j < length; j++) s.ids[s.count++] = b->bytes[(unsigned char)word[i + (size_t)j]];
        } else {
            add_unknown(b, &s);
        }
    }
    flush_unknown(b, &s);
    return s.count;
}

/* ---- short words ---- */

static size_t merge_short(const bpe *b, int32_t *ids, size_t count) {
    uint32_t ranks[SHORT];
    int32_t joined[SHORT];
    for (size_t i = 0; i + 1 < count; i++) {
        const bpe_pair *p = bpe_find_pair(b, ids[i], ids[i + 1]);
        ranks[i] = p ? p->rank : BPE_NO_RANK;
        joined[i] = p ? p->id : -1;
    }
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == BPE_NO_RANK) break;
        ids[best] = joined[best];
        count--;
        for (size_t i = best + 1; i < count; i++) ids[i] = ids[i + 1];
        for (size_t i = best; i + 1 < count; i++) ranks[i] = ranks[i + 1], joined[i] = joined[i + 1];
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < count; i++) {
            const bpe_pair *p = bpe_find_pair(b, ids[i], ids[i + 1]);
            ranks[i] = p ? p->rank : BPE_NO_RANK;
            joined[i] = p ? p->id : -1;
        }
    }
    return count;
}

/* ---- long words ---- */

static bool before(candidate a, candidate b) { return a.rank != b.rank ? a.rank < b.rank : a.at < b.at; }

static void sink(candidate *heap, size_t count, size_t at) {
    candidate moved = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) break;
        if (child + 1 < count && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], moved)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static status add_candidate(bpe_worker *w, int32_t at, bool ordered) {
    if (at < 0 || w->next[at] < 0) return STATUS_OK;
    const bpe_pair *p = bpe_find_pair(w->b, w->ids[at], w->ids[w->next[at]]);
    if (!p) return STATUS_OK;
    if (w->heap_count == w->heap_room) {
        size_t room = w->heap_room ? 2 * w->heap_room : 1024;
        candidate *larger = realloc(w->heap, room * sizeof *larger);
        if (!larger) FAIL(MEM, "no memory for a word of %zu symbols", w->room);
        w->heap = larger;
        w->heap_room = room;
    }
    candidate c = {p->rank, at, p->id};
    size_t place = w->heap_count++;
    while (ordered && place && before(c, w->heap[(place - 1) / 2])) {
        w->heap[place] = w->heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    w->heap[place] = c;
    return STATUS_OK;
}

static status make_room(bpe_worker *w, size_t symbols_most) {
    if (w->room >= symbols_most) return STATUS_OK;
    free_long(w);
    w->ids = malloc(symbols_most * sizeof *w->ids);
    w->next = malloc(symbols_most * sizeof *w->next);
    w->previous = malloc(symbols_most * sizeof *w->previous);
    if (!w->ids || !w->next || !w->previous) FAIL(MEM, "no memory for a word of %zu bytes", symbols_most);
    w->room = symbols_most;
    return STATUS_OK;
}

/* joins the symbols of a chain; next is -1 at its end, ids are -1 where a symbol was joined to the one before */
static status merge_long(bpe_worker *w, size_t count) {
    w->heap_count = 0;
    for (size_t i = 0; i < count; i++) {
        w->next[i] = i + 1 < count ? (int32_t)i + 1 : -1;
        w->previous[i] = (int32_t)i - 1;
    }
    for (size_t i = 0; i < count; i++) TRY(add_candidate(w, (int32_t)i, false));
    for (size_t i = w->heap_count / 2; i-- > 0;) sink(w->heap, w->heap_count, i);
    while (w->heap_count) {
        candidate c = w->heap[0];
        w->heap[0] = w->heap[--w->heap_count];
        if (w->heap_count) sink(w->heap, w->heap_count, 0);
        int32_t right = w->ids[c.at] < 0 ? -1 : w->next[c.at];
        const bpe_pair *p = right < 0 ? NULL : bpe_find_pair(w->b, w->ids[c.at], w->ids[right]);
        if (!p || p->id != c.id) continue; /* one of the two has been joined to another symbol since */
        w->ids[c.at] = c.id;
        w->ids[right] = -1;
        w->next[c.at] = w->next[right];
        if (w->next[right] >= 0) w->previous[w->next[right]] = c.at;
        TRY(add_candidate(w, w->previous[c.at], true));
        TRY(add_candidate(w, c.at, true));
    }
    return STATUS_OK;
}

static status word_long(bpe_worker *w, token_list *out, const char *word, size_t bytes) {
    if (bytes > BPE_LONGEST)
        FAIL(DATA, "the text has a word of %zu bytes, expected at most %d; the word begins with \"%.20s\"", bytes,
             BPE_LONGEST, word);
    TRY(make_room(w, bytes));
    size_t count = find_symbols(w->b, w->ids, word, bytes);
    TRY(merge_long(w, count));
    TRY(token_list_reserve(out, (i64)count));
    for (int32_t i = count ? 0 : -1; i >= 0; i = w->next[i]) out->ids[out->count++] = w->ids[i];
    if (w->room > KEPT) free_long(w);
    return STATUS_OK;
}

/* ---- any word ---- */

/* -1: the word as a whole is no token */
static int32_t whole_token(bpe_worker *w, const char *word, size_t bytes) {
    const bpe *b = w->b;
    if (!b->o.whole_words || bytes > b->longest) return -1;
    if (!b->o.byte_level) return bpe_find_token(b, word, bytes);
    return bpe_find_token(b, w->name, byte_level_write(w->name, word, bytes));
}

static status word_uncached(bpe_worker *w, token_list *out, const char *word, size_t bytes) {
    int32_t id = whole_token(w, word, bytes);
    if (id >= 0) return token_list_add(out, id);
    if (bytes > SHORT) return word_long(w, out, word, bytes);
    TRY(token_list_reserve(out, SHORT));
    int32_t *ids = out->ids + out->count;
    size_t count = find_symbols(w->b, ids, word, bytes);
    out->count += (i64)merge_short(w->b, ids, count);
    return STATUS_OK;
}

static uint64_t hash(const char *word, size_t bytes) {
    uint64_t h = bytes, part;
    while (bytes >= 8) {
        memcpy(&part, word, 8);
        h = bpe_mix(h ^ part);
        word += 8, bytes -= 8;
    }
    part = 0;
    if (bytes >= 4) {
        uint32_t low, high;
        memcpy(&low, word, 4);
        memcpy(&high, word + bytes - 4, 4);
        part = (uint64_t)high << 32 | low;
    } else if (bytes) {
        part = (uint64_t)(unsigned char)word[0] << 16 | (uint64_t)(unsigned char)word[bytes / 2] << 8 |
               (unsigned char)word[bytes - 1];
    }
    h = bpe_mix(h ^ part);
    return h ^ h >> 32;
}

status bpe_word(bpe_worker *w, token_list *out, const char *word, size_t bytes) {
    if (!bytes) return STATUS_OK;
    if (bytes > LARGE_TEXT) return word_uncached(w, out, word, bytes);
    bool is_small = bytes <= SMALL_TEXT;
    uint64_t h = hash(word, bytes);
    small_word *small = &w->small[h % SMALL_WORDS];
    large_word *large = &w->large[h % LARGE_WORDS];
    const char *text = is_small ? small->text : large->text;
    const int32_t *ids = is_small ? small->ids : large->ids;
    uint8_t known = is_small ? small->bytes : large->bytes, count = is_small ? small->count : large->count;
    TRY(token_list_reserve(out, LARGE_IDS));
    if (known == bytes && memcmp(text, word, bytes) == 0) {
        if (is_small) memcpy(out->ids + out->count, ids, sizeof small->ids);
        else memcpy(out->ids + out->count, ids, sizeof large->ids);
        out->count += count;
        return STATUS_OK;
    }
    i64 start = out->count;
    TRY(word_uncached(w, out, word, bytes));
    i64 added = out->count - start;
    if (is_small && added <= SMALL_IDS) {
        *small = (small_word){.bytes = (uint8_t)bytes, .count = (uint8_t)added};
        memcpy(small->text, word, bytes);
        memcpy(small->ids, out->ids + start, (size_t)added * sizeof *small->ids);
    } else if (!is_small && added <= LARGE_IDS) {
        *large = (large_word){.bytes = (uint8_t)bytes, .count = (uint8_t)added};
        memcpy(large->text, word, bytes);
        memcpy(large->ids, out->ids + start, (size_t)added * sizeof *large->ids);
    }
    return STATUS_OK;
}
