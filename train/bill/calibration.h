/* RUN/calibration.json: what a run measured, for the plan of the next run on such a machine (`tally plan --from RUN`). The run
 * writes it with checkpoints and at its end, once it has done CALIBRATION_LEAST steps; the last attempt counts.
 *
 * Figures of a step are of one step of one rank, from the steps of this attempt without its first CALIBRATION_SKIP, which
 * start slowly. A figure that is not known is NAN here and null in the file.
 *
 *   step_s          median; step_low_s, step_high_s: the quartiles around it
 *   seconds of works[i]     measured around the calls of that kind of work, on a CPU only: a GPU runs asynchronously. What remains
 *                   of a step (norms, activations, embeddings, copies) is CALIBRATION_REST. They add up to step_s.
 *   seconds of gemms[i]     the same, by shape; they add up to works[CALIBRATION_GEMM] */
#ifndef TALLY_CALIBRATION_H
#define TALLY_CALIBRATION_H

#include "runtime/status.h"
#include "runtime/tensor.h"

#include <stdbool.h>
#include <stdint.h>

enum { CALIBRATION_SKIP = 3, CALIBRATION_LEAST = 8, CALIBRATION_GEMMS = 64 };

#define CALIBRATION_WORK_LIST(X)                                                                                       \
    X(CALIBRATION_GEMM, "gemm")                                                                                        \
    X(CALIBRATION_ATTENTION_FORWARD, "attention_forward")                                                              \
    X(CALIBRATION_ATTENTION_BACKWARD, "attention_backward")                                                            \
    X(CALIBRATION_LOSS, "loss")                                                                                        \
    X(CALIBRATION_OPTIMIZER, "optimizer")                                                                              \
    X(CALIBRATION_DATA, "data_wait")                                                                                   \
    X(CALIBRATION_COMMUNICATION, "exposed_communication")                                                              \
    X(CALIBRATION_REST, "rest")
typedef enum {
#define X(code, key) code,
    CALIBRATION_WORK_LIST(X)
#undef X
        CALIBRATION_WORKS
} calibration_work;

/* GEMMs of one shape (runtime/gemm.h) in a step */
typedef struct {
    i64 M, N, K, calls;
    bool trans_a, trans_b, accumulate;
    double seconds; /* of all calls together */
} calibration_gemm;

typedef struct {
    /* the run: its options, as `tally train` takes them */
    char model[4096], device[96], isa[48], precision[8], recompute[32], shard[16];
    i64 ranks, threads, batch, seq_len, micro_batches, tokens_per_step;
    i64 vocabulary; /* of the model: that of the data may have replaced the preset's */

    i64 steps; /* that were measured */
    double step_s, step_low_s, step_high_s, tokens_per_s;
    double flops_model_per_s, flops_executed_per_s; /* of all ranks: FLOPs of a step / step_s */
    double peak_datasheet, peak_measured;           /* of all ranks, FLOP/s */
    double works[CALIBRATION_WORKS];                /* NAN on a GPU, except data_wait and exposed_communication */
    calibration_gemm gemms[CALIBRATION_GEMMS];
    int gemm_count;
    double evaluation_s, checkpoint_s, startup_s; /* of one evaluation, of one checkpoint, of this attempt's start */
    double watts;                                 /* of all devices, mean over the attempt */
    char energy_source[32];
    double memory_bytes; /* of rank 0: measured, or what it holds where that cannot be, as on a GPU */
    double usd_per_hour; /* of all devices */
} calibration;

const char *calibration_work_key(calibration_work w);

/* *c is complete in memory; replaces RUN/calibration.json atomically. */
status calibration_write(const calibration *c, const char *run);

/* DATA where RUN is no run, has no calibration.json yet (the message says when one is written), or the file is damaged. */
status calibration_read(calibration *c, const char *run);

#endif
