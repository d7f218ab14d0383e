/* What a run does now as a text file for Prometheus (exposition format 0.0.4), for example in the folder that the node exporter's
 * textfile collector reads. Every sample has the labels run and model. A value that is unknown has no sample.
 *
 *   tally_step, tally_steps_planned, tally_tokens      the last complete step, --steps, tokens trained on. A resume may take step and
 *                                                      tokens back, so they are gauges
 *   tally_loss_nats, tally_held_out_loss_nats, tally_learning_rate, tally_gradient_norm      of the last step and evaluation
 *   tally_step_duration_seconds, tally_tokens_per_second, tally_mfu_ratio, tally_hfu_ratio, tally_memory_bytes,
 *   tally_ranks, tally_exposed_communication_seconds, tally_gpu_temperature_celsius, tally_gpu_clock_hertz: as in metrics.jsonl
 *   tally_booked_seconds_total{category}, tally_cost_usd_total{category}      the ledger: their sums are wall time and bill
 *   tally_energy_joules_total{category}      of the devices, and where they are known of the host and of cooling and conversion
 *   tally_carbon_dioxide_grams_total     with --grid
 *   tally_active                   1 while the run trains, 0 when it has ended. A process that was killed leaves 1
 *   tally_written_timestamp_seconds      when the file was written: an old one of an active run shows that it hangs */
#ifndef TALLY_PROMETHEUS_H
#define TALLY_PROMETHEUS_H

#include "train/bill/metrics.h"
#include "train/bill/spent.h"

typedef struct {
    const char *path, *run, *model;
} prometheus_file;

/* ARG if the file could or should not be replaced: it is not a regular file, it holds something else, or its folder does not
 * exist. Writes nothing. */
status prometheus_check(const char *path);
/* Replaces the file atomically. last: NaN in it is unknown; val_loss: of the last evaluation, NaN: none. */
status prometheus_write(const prometheus_file *f, const step_record *last, double val_loss, const spent *total,
                        bool active);

#endif
