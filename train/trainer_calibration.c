/* What the run measures for RUN/calibration.json and for the plan that is made again (trainer_plan.c): times of steps, and on a CPU of
 * the kinds of work in them, on rank 0. Steps in which something else took the machine (three times the fastest) do not count. */
#include "train/trainer_parts.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/log.h"

static const double LONGEST = 3; /* times the fastest step */

status trainer_measure_open(trainer *t) {
    trainer_measures *m = &t->measures;
    m->seconds = malloc(MEASURED_STEPS * sizeof *m->seconds);
    if (!m->seconds) FAIL(MEM, "no memory for the times of steps");
    m->evaluation_s = m->checkpoint_s = NAN;
    return STATUS_OK;
}

void trainer_measure_close(trainer *t) {
    free(t->measures.seconds);
    t->measures.seconds = NULL;
}

void trainer_measure_begin(trainer *t) {
    trainer_measures *m = &t->measures;
    m->now = (profile){0};
    t->dev->profile = t->dev->kind == DEVICE_CPU ? &m->now : NULL;
}

static void add_profile(profile *sum, const profile *one) {
    for (int k = 0; k < PROFILE_KINDS; k++) sum->ns[k] += one->ns[k];
    for (int i = 0; i < one->gemm_count; i++) profile_add_gemm(sum, &one->gemms[i]);
}

void trainer_measure_end(trainer *t, const step_record *r) {
    trainer_measures *m = &t->measures;
    uint64_t booked =
        t->bill.time.booked_ns[BOOK_DATA]; /* less than before if time as a stopped process was deducted */
    uint64_t data_ns = booked > m->data_ns ? booked - m->data_ns : 0;
    m->data_ns = booked;
    t->dev->profile = NULL;
    if (++m->steps_seen <= CALIBRATION_SKIP || !(r->step_s > 0)) return;
    if (!m->steps || r->step_s < m->fastest_s) m->fastest_s = r->step_s;
    m->seconds[m->steps++ % MEASURED_STEPS] = r->step_s;
    if (r->step_s > LONGEST * m->fastest_s) return;
    m->summed++;
    m->sum_s += r->step_s;
    m->waited_s += r->exposed_s;
    m->joules += r->energy_j;
    m->data_sum_ns += data_ns;
    m->flops_model = (double)r->flops_model, m->flops_executed = (double)r->flops_executed;
    add_profile(&m->sum, &m->now);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool trainer_measure_quartiles(const trainer *t, double quartiles[3]) {
    const trainer_measures *m = &t->measures;
    size_t n = m->steps < MEASURED_STEPS ? m->steps : MEASURED_STEPS;
    double *sorted = n ? malloc(n * sizeof *sorted) : NULL;
    if (!sorted) return false;
    memcpy(sorted, m->seconds, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    for (int q = 0; q < 3; q++) quartiles[q] = sorted[(n - 1) * (size_t)(q + 1) / 4];
    if (n % 2 == 0) quartiles[1] = (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    free(sorted);
    return true;
}

/* The mean of the counted steps, scaled so that the parts of a step add up to its median. */
static void fill_works(calibration *c, const trainer *t) {
    const trainer_measures *m = &t->measures;
    static const calibration_work of[] = {[PROFILE_GEMM] = CALIBRATION_GEMM,
                                          [PROFILE_ATTENTION_FORWARD] = CALIBRATION_ATTENTION_FORWARD,
                                          [PROFILE_ATTENTION_BACKWARD] = CALIBRATION_ATTENTION_BACKWARD,
                                          [PROFILE_LOSS] = CALIBRATION_LOSS,
                                          [PROFILE_OPTIMIZER] = CALIBRATION_OPTIMIZER};
    double scale = c->step_s / m->sum_s, ns = 1e-9 * scale, left = c->step_s;
    bool measured = t->dev->kind == DEVICE_CPU;
    for (int w = 0; w < CALIBRATION_WORKS; w++) c->works[w] = NAN;
    c->works[CALIBRATION_DATA] = (double)m->data_sum_ns * ns;
    c->works[CALIBRATION_COMMUNICATION] = m->waited_s * scale;
    if (!measured) return;
    for (int k = 0; k < PROFILE_KINDS; k++) c->works[of[k]] = (double)m->sum.ns[k] * ns;
    for (int w = 0; w < CALIBRATION_REST; w++) left -= c->works[w];
    c->works[CALIBRATION_REST] = left > 0 ? left : 0;
    for (int i = 0; i < m->sum.gemm_count; i++) {
        const profile_gemm *g = &m->sum.gemms[i];
        if (g->calls < m->summed || !g->ns) continue;
        c->gemms[c->gemm_count++] = (calibration_gemm){.M = g->M,
                                                       .N = g->N,
                                                       .K = g->K,
                                                       .calls = (i64)(g->calls / m->summed),
                                                       .trans_a = g->trans_a,
                                                       .trans_b = g->trans_b,
                                                       .accumulate = g->accumulate,
                                                       .seconds = (double)g->ns * ns};
    }
}

static double known(double x) { return x > 0 ? x : NAN; }

bool trainer_measure_fill(calibration *c, const trainer *t) {
    const trainer_measures *m = &t->measures;
    const train_options *o = t->o;
    double quartiles[3];
    *c = (calibration){0};
    if (m->steps_seen < CALIBRATION_LEAST || !m->summed || !trainer_measure_quartiles(t, quartiles)) return false;
    *c = (calibration){.ranks = t->world->ranks,
                       .threads = t->dev->threads,
                       .batch = o->batch,
                       .seq_len = o->seq_len,
                       .micro_batches = t->global_batch / (o->batch * o->seq_len * t->world->ranks),
                       .tokens_per_step = t->global_batch,
                       .vocabulary = t->c.V,
                       .steps = (i64)m->steps,
                       .step_low_s = quartiles[0],
                       .step_s = quartiles[1],
                       .step_high_s = quartiles[2],
                       .tokens_per_s = (double)t->global_batch / quartiles[1],
                       .flops_model_per_s = m->flops_model / quartiles[1],
                       .flops_executed_per_s = m->flops_executed / quartiles[1],
                       .peak_datasheet = known(t->peak_datasheet),
                       .peak_measured = known(t->peak_measured),
                       .evaluation_s = m->evaluation_s,
                       .checkpoint_s = m->checkpoint_s,
                       .startup_s = m->startup_s,
                       .watts = m->joules / m->sum_s,
                       .memory_bytes = (double)(t->mine.measured_bytes ? t->mine.measured_bytes : t->mine.memory_bytes),
                       .usd_per_hour = ledger_usd_per_hour(&t->bill)};
    snprintf(c->model, sizeof c->model, "%s", o->model);
    snprintf(c->device, sizeof c->device, "%s", t->dev->name);
    snprintf(c->isa, sizeof c->isa, "%s", t->dev->isa);
    snprintf(c->precision, sizeof c->precision, "%s", dtype_name(o->precision.t));
    snprintf(c->recompute, sizeof c->recompute, "%s", o->recompute);
    snprintf(c->shard, sizeof c->shard, "%s", fsdp_stage_name(o->precision.shard.stage));
    snprintf(c->energy_source, sizeof c->energy_source, "%s", ledger_energy_source(&t->bill));
    fill_works(c, t);
    return true;
}

static status write_calibration(const trainer *t) {
    calibration *c = malloc(sizeof *c);
    status_code st = STATUS_OK;
    if (!c) FAIL(MEM, "no memory for calibration.json");
    if (trainer_measure_fill(c, t)) st = calibration_write(c, t->o->out);
    free(c);
    return st;
}

void trainer_measure_write(const trainer *t) {
    if (write_calibration(t)) log_line("warning: %s; %s/calibration.json stays as it was", status_message(), t->o->out);
}
