/* Where the time of a CPU's training steps goes, by kind of work, and of GEMMs by shape. The host's clock is read around each
 * call, some 50 ns for a call of 10 us and more. A device without a profile (device->profile is NULL), and every GPU, whose calls
 * only queue work, measures nothing. */
#ifndef TALLY_PROFILE_H
#define TALLY_PROFILE_H

#include <stdbool.h>

#include "runtime/meter.h"

typedef enum {
    PROFILE_GEMM,
    PROFILE_ATTENTION_FORWARD, /* also where it is repeated in backward */
    PROFILE_ATTENTION_BACKWARD,
    PROFILE_LOSS,      /* of the logits and its gradient */
    PROFILE_OPTIMIZER, /* gradient norm and update */
    PROFILE_KINDS
} profile_kind;

typedef struct {
    i64 M, N, K;
    bool trans_a, trans_b, accumulate;
    uint64_t calls, ns;
} profile_gemm;

enum { PROFILE_GEMMS = 64 };

typedef struct {
    uint64_t ns[PROFILE_KINDS];
    profile_gemm gemms[PROFILE_GEMMS]; /* a shape that finds no place counts only in ns[PROFILE_GEMM] */
    int gemm_count;
} profile;

/* uint64_t since = profile_begin(dev->profile); work; profile_end(dev->profile, kind, since). p NULL: they do nothing. */
static inline uint64_t profile_begin(const profile *p) { return p ? meter_clock_ns() : 0; }
static inline void profile_end(profile *p, profile_kind kind, uint64_t since) {
    if (p) p->ns[kind] += meter_clock_ns() - since;
}
void profile_end_gemm(profile *p, profile_gemm shape, uint64_t since); /* shape: without calls and ns */
void profile_add_gemm(profile *p, const profile_gemm *g);              /* its calls and ns to those of its shape */

#endif
