/* Shared by the tests on several ranks. */
#ifndef TALLY_RANKS_H
#define TALLY_RANKS_H

#include <sys/mman.h>
#include <unistd.h>

#include "tests/check.h"

/* rank r's data of n elements, in the dtype that is sent: of many magnitudes, so that a sum depends on its order */
static inline float *data_of(int r, i64 n, uint64_t seed, dtype wire) {
    float *x = malloc((size_t)(n + 1) * 4);
    for (i64 i = 0; i < n; i++) {
        uint64_t h = ((uint64_t)i + 1) * 0x9e3779b97f4a7c15u ^ (seed * 64 + (uint64_t)r) * 0xbf58476d1ce4e5b9u;
        h = (h ^ h >> 31) * 0x94d049bb133111ebu;
        x[i] = (float)(int32_t)(h >> 32) * (float)(1 << (h & 15)) * 1e-9f;
        if (wire == BF16) x[i] = bf16_to_f32(bf16_from_f32(x[i]));
    }
    return x;
}

/* Rank 0 prints TAP; the other ranks print only failures. */
static inline int run_ranked(int rank, int (*run)(void)) {
    int out = -1, err = -1, hidden = -1;
    if (rank) {
        hidden = memfd_create("output", 0), out = dup(1), err = dup(2);
        dup2(hidden, 1), dup2(hidden, 2);
    }
    int failed = run();
    if (!rank) return failed;
    fflush(stdout);
    dup2(out, 1), dup2(err, 2);
    char text[4096];
    lseek(hidden, 0, SEEK_SET);
    for (ssize_t n; failed && (n = read(hidden, text, sizeof text)) > 0;) fwrite(text, 1, (size_t)n, stderr);
    return failed;
}

#endif
