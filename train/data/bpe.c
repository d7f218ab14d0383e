#include "train/data/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/data/bpe_parts.h"
#include "train/data/byte_level.h"
#include "train/data/unicode.h"

/* ---- pairs ---- */

static size_t table_size(i64 count) {
    size_t size = 16;
    while (size < 2 * (size_t)count) size *= 2;
    return size;
}

static status fill_pairs(bpe *b, const bpe_merge *merges, i64 count) {
    size_t size = table_size(count);
    if (!(b->pairs = malloc(size * sizeof *b->pairs))) FAIL(MEM, "no memory for %ld merges", count);
    memset(b->pairs, 0xff, size * sizeof *b->pairs);
    b->mask = size - 1;
    for (i64 i = 0; i < count; i++) {
        const bpe_merge *m = &merges[i];
        bpe_pair pair = {m->left, m->right, (uint32_t)i, m->id};
        size_t at = bpe_mix((uint64_t)(uint32_t)m->left << 32 | (uint32_t)m->right) >> 8 & b->mask;
        while (b->pairs[at].left >= 0 && (b->pairs[at].left != m->left || b->pairs[at].right != m->right))
            at = (at + 1) & b->mask;
        b->pairs[at] = pair; /* of two equal merges the later counts */
    }
    return STATUS_OK;
}

/* ---- bytes and characters ---- */

static void fill_bytes(bpe *b) {
    b->all_bytes = true;
    for (int i = 0; i < 256; i++) {
        char name[8];
        size_t bytes;
        if (b->o.byte_level) bytes = byte_level_write(name, &(char){(char)i}, 1);
        else bytes = (size_t)snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        b->bytes[i] = b->o.byte_level || b->o.byte_fallback ? bpe_find_token(b, name, bytes) : -1;
        b->all_bytes &= b->bytes[i] >= 0;
    }
}

static status fill_points(bpe *b) {
    if (!(b->points = malloc(BPE_POINTS * sizeof *b->points)))
        FAIL(MEM, "no memory for the characters of a vocabulary");
    memset(b->points, 0xff, BPE_POINTS * sizeof *b->points);
    for (i64 id = 0; id < b->v->size; id++) {
        const char *name = vocabulary_name(b->v, id);
        if (name && vocabulary_bytes(b->v, id) == (size_t)unicode_length((unsigned char)*name) &&
            !(b->o.outside && b->o.outside[id]))
            b->points[unicode_read(name)] = (int32_t)id;
    }
    return STATUS_OK;
}

/* ---- where texts may be cut ---- */

static uint64_t crossing_key(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right | 1ull << 63;
}

static size_t crossing_place(const bpe *b, uint64_t key) {
    size_t at = bpe_mix(key) >> 8 & b->crossed_mask;
    while (b->crossed[at] && b->crossed[at] != key) at = (at + 1) & b->crossed_mask;
    return at;
}

static const char *last_character(const vocabulary *v, int32_t id) {
    const char *name = vocabulary_name(v, id), *last = name + vocabulary_bytes(v, id) - 1;
    while (last > name && (*last & 0xc0) == 0x80) last--;
    return last;
}

/* A merge joins across the last character of its left token and the first of its right one. That says nothing of symbols that
 * stand for bytes or for unknown characters: if merges have such symbols, texts are not cut; nor if words that are tokens need
 * no merge, since a part of a word might be one. */
static status fill_crossings(bpe *b, const bpe_merge *merges, i64 count) {
    size_t size = table_size(count);
    if (!(b->crossed = calloc(size, sizeof *b->crossed))) FAIL(MEM, "no memory for %ld merges", count);
    b->crossed_mask = size - 1;
    b->cuts = !b->o.whole_words;
    for (i64 i = 0; i < count; i++) {
        for (int byte = 0; byte < 256; byte++)
            if (b->bytes[byte] >= 0 && (merges[i].left == b->bytes[byte] || merges[i].right == b->bytes[byte]))
                b->cuts = false;
        if (merges[i].left == b->o.unknown || merges[i].right == b->o.unknown) b->cuts = false;
        int32_t left = unicode_read(last_character(b->v, merges[i].left));
        int32_t right = unicode_read(vocabulary_name(b->v, merges[i].right));
        if (left < BPE_ASCII && right < BPE_ASCII) b->ascii_crossed[left][right / 64] |= 1ull << right % 64;
        else b->crossed[crossing_place(b, crossing_key(left, right))] = crossing_key(left, right);
    }
    return STATUS_OK;
}

bool bpe_may_cut(const bpe *b, int32_t left, int32_t right) {
    if (left < BPE_ASCII && right < BPE_ASCII) {
        if (b->ascii_crossed[left][right / 64] >> right % 64 & 1) return false;
    } else if (b->crossed[crossing_place(b, crossing_key(left, right))]) {
        return false;
    }
    /* an unknown character that is fused or dropped makes others neighbours */
    return b->cuts && (b->all_bytes || (b->points[left] >= 0 && b->points[right] >= 0));
}

/* ---- all ---- */

static status fill(bpe *b, const bpe_merge *merges, i64 count) {
    fill_bytes(b);
    if (b->o.byte_level && b->o.byte_fallback && !b->all_bytes)
        FAIL(DATA, "byte_fallback with a byte-level alphabet of which bytes are missing is not supported");
    for (i64 id = 0; id < b->v->size; id++) {
        if (vocabulary_name(b->v, id) && vocabulary_bytes(b->v, id) > b->longest)
            b->longest = vocabulary_bytes(b->v, id);
    }
    TRY(fill_pairs(b, merges, count));
    if (b->o.byte_level) return STATUS_OK;
    TRY(fill_points(b));
    return fill_crossings(b, merges, count);
}

status bpe_open(bpe **b, const vocabulary *v, const bpe_merge *merges, i64 count, bpe_options o) {
    *b = NULL;
    bpe *opened = calloc(1, sizeof *opened);
    if (!opened) FAIL(MEM, "no memory for the merges of a tokenizer");
    opened->v = v;
    opened->o = o;
    status_code st = fill(opened, merges, count);
    if (st) bpe_close(opened);
    else *b = opened;
    return st;
}

void bpe_close(bpe *b) {
    if (!b) return;
    free(b->pairs);
    free(b->points);
    free(b->crossed);
    free(b);
}

int32_t bpe_byte(const bpe *b, unsigned char byte) { return b->bytes[byte] >= 0 ? b->bytes[byte] : b->o.unknown; }
