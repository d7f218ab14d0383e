/* Shared by bpe.c (the tables) and bpe_word.c (what a thread does with them). */
#ifndef TALLY_BPE_PARTS_H
#define TALLY_BPE_PARTS_H

#include "train/data/bpe.h"

typedef struct {
    int32_t left, right; /* left is -1 where the table is empty */
    uint32_t rank;
    int32_t id;
} bpe_pair;

enum { BPE_ASCII = 128, BPE_POINTS = 0x110000 };
#define BPE_NO_RANK UINT32_MAX

struct bpe {
    const vocabulary *v;
    bpe_options o;
    bpe_pair *pairs; /* a hash table */
    size_t mask;
    int32_t bytes[256]; /* the token of each byte; -1: none */
    bool all_bytes;     /* every byte has one */
    size_t longest;     /* token, in bytes */
    /* characters only */
    int32_t *points;                                   /* [BPE_POINTS] the token of each; -1: none */
    bool cuts;                                         /* whether texts may be cut at all */
    uint64_t ascii_crossed[BPE_ASCII][BPE_ASCII / 64]; /* a bit: some merge joins across this pair */
    uint64_t *crossed;                                 /* a hash table of the other such pairs; 0: empty */
    size_t crossed_mask;
};

static inline uint64_t bpe_mix(uint64_t x) {
    x *= 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

/* -1: no token of words has this name */
static inline int32_t bpe_find_token(const bpe *b, const char *name, size_t bytes) {
    int32_t id = vocabulary_find(b->v, name, bytes);
    return id >= 0 && b->o.outside && b->o.outside[id] ? -1 : id;
}

/* NULL: no merge joins them */
static inline const bpe_pair *bpe_find_pair(const bpe *b, int32_t left, int32_t right) {
    size_t at = bpe_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right) >> 8 & b->mask;
    for (; b->pairs[at].left >= 0; at = (at + 1) & b->mask)
        if (b->pairs[at].left == left && b->pairs[at].right == right) return &b->pairs[at];
    return NULL;
}

#endif
