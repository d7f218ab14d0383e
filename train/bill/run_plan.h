/* RUN/plan.json: what the run was expected to take, and, once an attempt has ended, what it took.
 *
 *   source          where the plan comes from, in words          steps   that the run was to do
 *   step_ms, tokens_per_s, wall_s, usd, energy_j      of the run; step_ms: the median; energy_j: of the devices
 *   memory_bytes    of a device, that of rank 0 in actual; memory: an object of its parts by category (runtime/arena.h)
 *   provisional     true: the speed was assumed; the plan is made again when enough steps are measured
 *   actual          an object with the same keys, of the run so far; step_ms and tokens_per_s: of its last attempt; memory: what
 *                   that attempt has laid out, since only the sum can be measured
 *   error           an object: actual / planned - 1 of each. null where either is not known, and for wall_s, usd and energy_j
 *                   of a run that has not done all of its steps
 *   causes          array of texts: why errors are above RUN_PLAN_TOLERANCE
 * Unknown is null. Readers must treat every key as optional. */
#ifndef TALLY_RUN_PLAN_H
#define TALLY_RUN_PLAN_H

#include "runtime/arena.h"

#define RUN_PLAN_LIST(X)                                                                                               \
    X(RUN_PLAN_STEP_MS, "step_ms")                                                                                     \
    X(RUN_PLAN_TOKENS_PER_S, "tokens_per_s")                                                                           \
    X(RUN_PLAN_WALL_S, "wall_s")                                                                                       \
    X(RUN_PLAN_USD, "usd")                                                                                             \
    X(RUN_PLAN_ENERGY_J, "energy_j")                                                                                   \
    X(RUN_PLAN_MEMORY_BYTES, "memory_bytes")
typedef enum {
#define X(code, key) code,
    RUN_PLAN_LIST(X)
#undef X
        RUN_PLAN_KEYS
} run_plan_key;

static const double RUN_PLAN_TOLERANCE = 0.1;
enum { RUN_PLAN_CAUSES = 8, RUN_PLAN_CAUSE = 200 };

typedef struct {
    double of[RUN_PLAN_KEYS];      /* NAN: not known */
    double memory[MEM_CATEGORIES]; /* NAN: not known */
} run_plan_figures;

typedef struct {
    char source[256];
    i64 steps;
    bool provisional, ended; /* ended: actual and the causes are set */
    run_plan_figures planned, actual;
    bool whole; /* the run has done all of its steps */
    char causes[RUN_PLAN_CAUSES][RUN_PLAN_CAUSE];
    int cause_count;
} run_plan;

run_plan_figures run_plan_unknown(void);
double run_plan_error(const run_plan *p, run_plan_key k); /* NAN: see above */
/* Adds a cause, printf-style; drops it where there are RUN_PLAN_CAUSES already. */
void run_plan_cause(run_plan *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

status run_plan_write(const run_plan *p, const char *run); /* atomically */
/* What the run has; without actual, error and causes. *found is false where there is no plan.json; DATA where it is damaged. */
status run_plan_read(run_plan *p, bool *found, const char *run);

/* for what a plan was made; 0: it does not say */
typedef struct {
    i64 tokens_per_step, weights, devices; /* weights: the number of them */
} run_plan_scope;

/* What `tally plan --json` printed. It must hold one plan. What it leaves open because it names no number of tokens is computed for
 * a run of `steps` steps. The source names the plan's device. */
status run_plan_import(run_plan *p, run_plan_scope *scope, const char *path, i64 steps);

#endif
