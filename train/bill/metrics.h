/* RUN/metrics.jsonl: one JSON object a step. Cumulative over the run, resumed attempts and lost work included:
 * tokens, usd, energy_total_j, wall_s. Unknown is null. Integers have all of their digits, also beyond 2^53 (FLOPs, bytes): a
 * reader that holds numbers as doubles rounds them. Earlier versions wrote integers from 2^53 on as strings of digits.
 *
 *   step, tokens
 *   loss            mean nats a token of the step's batch     val_loss  of the held-out tokens, where evaluated
 *   lr, grad_norm   L2 before clipping                        skipped   true: not finite, no update was made
 *   step_ms         of this step (no evaluation, no checkpoint)      tokens_per_s  of this step
 *   flops_model, flops_executed     of this step: closed form; counted at every product and attention call
 *   mfu, mfu_palm, hfu              of the datasheet's dense peak; null where the device has none
 *   mfu_of_measured_peak, hfu_of_measured_peak     of the peak that a large product reached (peak_measured_flops: at start, or later where a step outran it)
 *   memory_bytes    weights, state, activations, scratch and packed copies
 *   energy_j        of this step; energy_source "nvml", "nvml-power (estimated)", "rapl", "tdp-estimated" or "unknown" (then null)
 *   energy_window_s how long the window was over which NVML's joules were taken, the shortest of any rank: a second or more,
 *                   which short steps share. energy_coarse true: less than a second, as before the first one is over;
 *                   NVML's counter moves every 100 ms or so. null and false with other sources
 *   gpu_sm_mhz, gpu_memory_mhz      clocks at the step's end, of the slowest GPU; ..._max_mhz the most they can be
 *   gpu_temperature_c               of the hottest
 *   gpu_throttle    what holds clocks down on any: names as in train/bill/throttle.c, with commas between, or "none". These are
 *                   null where NVML does not tell
 *   usd_step, usd_per_mtok          of this step at the price of the devices of all ranks
 *   ranks           of the run. Over ranks tokens, FLOPs, joules and bytes are summed, times are means, memory is the largest
 *   exposed_ms      of step_ms the ranks waited for communication      bytes_sent   by all ranks to others
 *                   --shard optimizer and gradients gather the weights when they are first used after an update: in the next step,
 *                   or in an evaluation or a save between the two, and then in no step
 *   slowest_rank, skew              the rank that computed longest (step_ms - waiting), by how much of the mean longer
 * A resumed run drops the lines after its checkpoint and adds {"event": "resume", "step", "wall_s", "usd", "energy_total_j",
 * "dropped_lines"}: what the run had cost by then, and how many lines went. A run that is begun again after it was killed before
 * its first checkpoint does the same, at step 0. */
#ifndef TALLY_METRICS_H
#define TALLY_METRICS_H

#include "runtime/status.h"
#include "runtime/tensor.h"
#include "train/bill/nvml.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* of the whole run, not of a rank */
typedef struct {
    uint64_t step, steps, tokens;
    double loss, val_loss; /* NaN: not evaluated */
    double lr, grad_norm;
    bool skipped;
    double step_s, tokens_per_s;
    u128 flops_model, flops_executed;
    double flops_palm;     /* of this step */
    double peak_datasheet; /* FLOP/s; 0: not known */
    double peak_measured;
    uint64_t memory_bytes;
    int ranks, slowest_rank;
    double exposed_s, skew;
    u128 bytes_sent;
    double energy_j, energy_window_s, energy_total_j; /* window: INFINITY where there is none */
    const char *energy_source;
    nvml_state gpu;                     /* of all ranks */
    double usd_step, usd, usd_per_mtok; /* NaN: no price */
    double wall_s, left_s, left_usd;
} step_record;

/* To append to; begun anew unless `keep`. A link in its place is not followed. */
status metrics_open(FILE **f, const char *path, bool keep);
status metrics_sync(FILE *f, const char *path); /* what was appended is on the medium */
status metrics_append(FILE *f, const char *path, const step_record *r);
void metrics_progress_line(char *line, size_t size, const step_record *r);

#endif
