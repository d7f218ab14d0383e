/* RUN/metrics.jsonl: one JSON object per step. tokens, usd, energy_total_j and wall_s are cumulative over the run, including
 * earlier attempts and lost work. Unknown is null. Integers have all of their digits, also above 2^53 (FLOPs, bytes); a reader
 * that holds numbers as doubles rounds them. Earlier versions wrote integers of 2^53 and more as strings of digits.
 *
 *   step, tokens    unix_time_s     when the line was written, in seconds since 1970
 *   loss            mean nats per token of the step's batch      val_loss  of the held-out tokens, where evaluated
 *   lr, grad_norm   L2 norm before clipping      skipped   true: loss or gradient was not finite and no update was made
 *   step_ms         of this step, without evaluation and checkpoint      tokens_per_s  of this step
 *   flops_model, flops_executed     of this step: closed form; counted at every GEMM and attention call
 *   mfu, mfu_palm, hfu              of the datasheet's dense peak; null where the device has none
 *   mfu_of_measured_peak, hfu_of_measured_peak     of peak_measured_flops, the rate that a large GEMM reached at start, or later
 *                   where a step was faster
 *   memory_bytes    weights, optimizer state, activations, scratch and packed copies
 *   energy_j        of this step; energy_source "nvml", "nvml-power (estimated)", "rapl", "tdp-estimated" or "unknown" (then null)
 *   energy_window_s length of the window over which NVML's energy was taken, the shortest of any rank: a second or more, shared by
 *                   short steps. energy_coarse true: less than a second, as before the first window is full; NVML's counter
 *                   advances every 100 ms or so. null and false with other sources
 *   gpu_sm_mhz, gpu_memory_mhz      clocks at the end of the step, of the slowest GPU; ..._max_mhz their maximum
 *   gpu_temperature_c               of the hottest GPU
 *   gpu_throttle    why clocks are below their maximum on any GPU: names of train/bill/throttle.c with commas between, or "none".
 *                   The gpu_ keys are null where NVML does not report them
 *   usd_step, usd_per_mtok          of this step, at the price of the devices of all ranks
 *   usd_by_booking  usd by entry of the ledger (runtime/meter.h) {"useful_s": ...}; entries of 0 are left out; null without a price
 *   ranks           number of ranks. Over ranks tokens, FLOPs, joules and bytes are summed, times are means, memory is the maximum
 *   exposed_ms      part of step_ms in which ranks waited for communication      bytes_sent   by all ranks to other ranks
 *                   --shard optimizer and gradients gather the weights when they are first used after an update: in the next step,
 *                   or in an evaluation or a save in between; the latter counts for no step
 *   drift_time, drift_memory, drift_usd     at evaluations: by what fraction the run will exceed its plan (run_plan.h) at its pace
 *                   up to now; of memory, by what fraction the process exceeds it, before the first save without what a save takes
 *   slowest_rank, skew              the rank that computed longest (step_ms - waiting), and by how much of the mean it was longer
 *
 * A resumed run drops the lines after its checkpoint and appends {"event": "resume", "step", "wall_s", "usd", "energy_total_j",
 * "dropped_lines"}: what the run had spent by then, and how many lines were dropped. A run that was killed before its first
 * checkpoint and is started again does the same at step 0. */
#ifndef TALLY_METRICS_H
#define TALLY_METRICS_H

#include "runtime/json.h"
#include "runtime/meter.h"
#include "train/bill/nvml.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One step, over all ranks. */
typedef struct {
    uint64_t step, steps, tokens;
    double unix_time_s;
    double loss, val_loss; /* NaN: not evaluated */
    double lr, grad_norm;
    bool skipped;
    double step_s, tokens_per_s;
    u128 flops_model, flops_executed;
    double flops_palm;     /* of this step */
    double peak_datasheet; /* FLOP/s; 0: unknown */
    double peak_measured;
    uint64_t memory_bytes;
    int ranks, slowest_rank;
    double exposed_s, skew;
    u128 bytes_sent;
    double energy_j, energy_window_s, energy_total_j; /* window: INFINITY: none */
    const char *energy_source;
    nvml_state gpu;                     /* merged over ranks */
    double usd_step, usd, usd_per_mtok; /* NaN: no price */
    double usd_by_booking[BOOKINGS];
    double wall_s, left_s, left_usd;
    double drift_time, drift_memory, drift_usd; /* NaN: not known */
} step_record;

/* Opens the file to append; a new, empty one unless `keep`. Does not follow a symbolic link. */
status metrics_open(FILE **f, const char *path, bool keep);
status metrics_sync(FILE *f, const char *path);              /* fsync */
status metrics_line_of(json_t **line, const step_record *r); /* free with json_decref */
status metrics_append(FILE *f, const char *path, const json_t *line);
/* flops / seconds / peak, as in MFU and HFU; NaN where the peak or the time is not known */
double metrics_use(double flops, double seconds, double peak);
/* the progress line of a step, cut off at size - 1 bytes */
void metrics_progress_line(char *line, size_t size, const step_record *r);

#endif
