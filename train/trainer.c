#include "train/trainer_parts.h"

#include <math.h>

#include "runtime/log.h"
#include "runtime/range.h"
#include "runtime/stop.h"
#include "train/bill/report.h"

/* Time outside steps: waiting for other ranks is booked under the same heading as the rest of it. */
static booking book_begin(trainer *t, booking to) {
    comm_set_meter(t->peers, NULL);
    range_begin(meter_booking_label(to), RANGE_PLAIN);
    return meter_book(&t->bill.time, to);
}

static void book_end(trainer *t, booking with) {
    comm_set_meter(t->peers, &t->bill.time);
    meter_book(&t->bill.time, with);
    range_end();
}

static status write_ledger(trainer *t) {
    bool root = trainer_is_root(t);
    if (root) trainer_measure_write(t);
    return comm_agree(t->world, root ? ledger_write(&t->bill, t->o->out, t->p.step, t->p.tokens) : STATUS_OK);
}

static status save(trainer *t) {
    booking before = book_begin(t, BOOK_CHECKPOINT);
    uint64_t since = meter_clock_ns();
    TRY(comm_agree(t->world, trainer_is_root(t) ? metrics_sync(t->metrics, t->metrics_path.text) : STATUS_OK));
    TRY(trainer_gather(t));
    t->p.spent = t->bill.total;
    snprintf(t->p.energy_source, sizeof t->p.energy_source, "%s", ledger_energy_source(&t->bill));
    if (t->p.step != t->saved_step) {
        TRY(checkpoint_save(t->o->out, &t->m.parameters, &(checkpoint_contents){&t->c, &t->p, &t->files}));
        if (!t->p.finite)
            log_line("warning: the loss is not finite at checkpoint step-%lu; --resume will not use this checkpoint",
                     t->p.step);
    }
    t->saved_step = t->p.step;
    TRY(checkpoint_prune(t->world, t->o->out, t->p.step, t->o->keep));
    book_end(t, before);
    t->saved_ns = meter_clock_ns();
    t->measures.checkpoint_s = t->mine.save_s = (double)(t->saved_ns - since) * 1e-9;
    TRY(trainer_gather(t));
    return write_ledger(t);
}

static status look_at_folder_now(trainer *t) {
    booking before = book_begin(t, BOOK_CHECKPOINT);
    trainer_look_at_folder(t);
    t->all->folder = t->mine.folder;
    TRY(comm_broadcast_host(t->world, &t->all->folder, sizeof t->all->folder));
    book_end(t, before);
    return STATUS_OK;
}

/* An evaluation may have taken long since the step checked the folder, and a save takes long too: check before and, if it
 * fails, after. A save that fails before the checkpoint is complete fails on all ranks. */
static status save_where_it_is(trainer *t) {
    TRY(look_at_folder_now(t));
    if (t->all->folder == FOLDER_FINE) {
        status_code st = save(t);
        if (!st || t->saved_step == t->p.step) return st;
        TRY(look_at_folder_now(t));
        if (t->all->folder == FOLDER_FINE) return st;
    }
    return trainer_end_without_folder(t, save);
}

static status evaluate_now(trainer *t) {
    booking before = book_begin(t, BOOK_EVALUATION);
    uint64_t since = meter_clock_ns();
    trainer_look_begin(t);
    status_code st = trainer_evaluate(t, &t->val_loss);
    t->evaluation_left = st == STATUS_STOPPED;
    if (t->evaluation_left) {
        t->val_loss = NAN;
        log_line("the evaluation after step %lu was interrupted; `tally eval %s --data ...` computes its loss",
                 t->p.step, t->o->out);
    } else {
        TRY(st);
    }
    t->p.val_loss = t->val_loss;
    if (!t->evaluation_left && trainer_holds_out(t) && !isfinite(t->val_loss)) t->p.finite = 0;
    t->mine.eval_s = (double)(meter_clock_ns() - since) * 1e-9;
    if (!t->evaluation_left) t->measures.evaluation_s = t->mine.eval_s;
    trainer_measure_memory(t);
    book_end(t, before);
    return STATUS_OK;
}

/* Whether the cost of the run would exceed --budget after the next step and a checkpoint. Before the first step its time is not
 * known; it is estimated at peak_assumed. */
static bool next_step_exceeds_budget(trainer *t) {
    if (isnan(t->o->budget)) return false;
    double done = (double)(t->p.step - t->first_step);
    double next_s = 2 * t->all[0].save_s; /* the time of a sync varies */
    bool last = t->p.step + 1 == (uint64_t)t->o->steps;
    if (trainer_due(t->o->eval_every, t->p.step + 1) || last) next_s += t->all[0].eval_s;
    if (done > 0) next_s += (ledger_wall_s(&t->bill) - t->first_wall_s) / done;
    else if (t->peak_assumed > 0) next_s += (double)meter_flops_executed(&t->step_flops) / t->peak_assumed;
    t->next_usd = ledger_usd_per_hour(&t->bill) * next_s / 3600;
    return ledger_usd(&t->bill) + t->next_usd > t->o->budget;
}

/* Whether the last evaluation, also one before a resume, ends the run. It is the same on all ranks; a NaN ends nothing. */
static bool reached_loss(const trainer *t) { return t->o->stop_at_loss > 0 && t->p.val_loss <= t->o->stop_at_loss; }

static step_args arguments(const trainer *t, uint64_t step) {
    const train_options *o = t->o;
    return (step_args){.lr = schedule_lr(&o->lr, (int64_t)step),
                       .beta1 = o->beta1,
                       .beta2 = o->beta2,
                       .eps = o->eps,
                       .weight_decay = o->weight_decay,
                       .clip = o->clip,
                       .seed = o->seed,
                       .micro_batches = t->global_batch / (o->batch * o->seq_len * t->world->ranks)};
}

static status account_skip(trainer *t, const step_result *r) {
    t->skipped_in_row = r->skipped ? t->skipped_in_row + 1 : 0;
    if (!r->skipped) return STATUS_OK;
    t->p.skipped++;
    log_line("step %lu skipped: loss %g, gradient norm %g; the weights were not updated", t->p.step, r->loss,
             r->grad_norm);
    if (t->skipped_in_row > t->o->max_skipped)
        FAIL(NUMERIC, "%ld steps in a row had a loss or gradient that is not finite; --max-skipped is %ld",
             t->skipped_in_row, t->o->max_skipped);
    return STATUS_OK;
}

static void count_from_here(trainer *t) {
    t->since_j = ledger_energy_now_j(&t->bill);
    t->since_waited_ns = comm_read_totals(t->peers).waited_ns;
}

static status queue_step(trainer *t) {
    uint64_t number = t->p.step + t->under_way;
    u128 flops = meter_flops_executed(&t->dev->flops);
    queued_step *q = &t->steps[number % DEVICE_SLOTS];
    if (!t->under_way) {
        count_from_here(t);
        trainer_begin_work(t);
    }
    trainer_look_begin(t);
    trainer_measure_begin(t);
    q->args = arguments(t, number);
    comm_set_step(t->peers, number + 1);
    uint64_t bytes = comm_read_totals(t->peers).bytes_sent - t->asked_bytes;
    range_begin("step", (i64)number + 1);
    status_code st = step_submit(&t->step_state, t->loader, &q->args);
    range_end();
    TRY(st);
    q->bytes_sent = comm_read_totals(t->peers).bytes_sent - t->asked_bytes - bytes;
    q->flops_model = meter_flops_model(&t->step_state.flops);
    q->flops_executed = meter_flops_executed(&t->dev->flops) - flops;
    q->position = loader_position(t->loader);
    t->under_way++;
    return STATUS_OK;
}

/* The result of the oldest step, and what it cost this rank. If another step is in flight, joules and waiting are those between
 * two reads by the host, which may come late; their sums are right. The host's waiting for other ranks is not exposed then,
 * since the GPU continues to compute. */
static status collect_step(trainer *t, const queued_step *q, step_result *r) {
    double joules = t->since_j;
    uint64_t waited_ns = t->since_waited_ns;
    TRY(step_collect(&t->step_state, r));
    TRY(comm_check(t->peers));
    t->under_way--;
    count_from_here(t);
    t->mine.step_s = r->seconds;
    t->mine.waited_s = (double)(t->since_waited_ns - waited_ns) * 1e-9;
    t->mine.bytes_sent = q->bytes_sent;
    t->mine.flops_model = q->flops_model;
    t->mine.flops_executed = q->flops_executed;
    energy_kind kind = energy_kind_of(t->bill.energy);
    t->mine.energy_j = energy_window_step(&t->window, kind, meter_clock_ns(), t->since_j, t->since_j - joules,
                                          r->seconds, &t->mine.energy_window_s);
    t->mine.gpu = energy_gpu(t->bill.energy);
    if (t->under_way) comm_set_meter(t->peers, NULL);
    trainer_look_at_folder(t);
    TRY(trainer_gather(t));
    comm_set_meter(t->peers, &t->bill.time);
    t->since_waited_ns = comm_read_totals(t->peers).waited_ns;
    return STATUS_OK;
}

/* If a step exceeds the measured peak, other work slowed the measurement: measure again. */
static status check_peak(trainer *t, step_record *record) {
    double rate = (double)record->flops_executed / record->step_s, again;
    if (t->under_way || t->peak_measured <= 0 || rate <= t->peak_measured) return STATUS_OK;
    booking before = book_begin(t, BOOK_STARTUP);
    trainer_measure_memory(t);
    TRY(trainer_measure_peak(t, t->o->peak_seconds, &again));
    host_restart_peak(); /* the memory of this measurement is not the model's */
    book_end(t, before);
    log_line("peak: a step reached %.4g GFLOP/s, more than the measured %.4g; measured again: %.4g", rate * 1e-9,
             t->peak_measured * 1e-9, again * 1e-9);
    t->peak_measured = record->peak_measured = again > rate ? again : rate;
    return STATUS_OK;
}

static void show(const trainer *t, const step_record *record) {
    char line[512];
    metrics_progress_line(line, sizeof line, record);
    if (isnan(record->val_loss)) log_progress(line, (double)t->p.step / (double)t->o->steps);
    else log_line("%s", line);
}

static bool is_last(const trainer *t, uint64_t step) { return step == (uint64_t)t->o->steps; }
static bool evaluates(const trainer *t, uint64_t step) {
    return trainer_due(t->o->eval_every, step) || is_last(t, step);
}

/* A checkpoint that is due by time waits if a later step is in flight, whose update may have changed the weights already. */
static bool saves(const trainer *t, uint64_t step) {
    return trainer_due(t->o->checkpoint_every, step) || (t->all[0].save_is_due && !t->under_way);
}

static status finish_step(trainer *t) {
    queued_step q = t->steps[t->p.step % DEVICE_SLOTS];
    step_result r;
    TRY(collect_step(t, &q, &r));
    t->p.step++;
    t->p.tokens += (uint64_t)t->global_batch;
    trainer_set_position(t, &q.position);
    t->p.updates = t->m.parameters.step;
    t->p.finite = !r.skipped;
    t->p.loss = r.loss;
    throttle_look(&t->throttle, &t->all->gpu, sizeof *t->all, t->world->ranks);
    step_record record = trainer_log_record(t, &q.args, &r);
    trainer_measure_end(t, &record);
    trainer_plan_step(t);
    t->p.model_flops += (double)record.flops_model;
    t->bytes_sent += record.bytes_sent;
    TRY(check_peak(t, &record));
    if (evaluates(t, t->p.step)) {
        TRY(evaluate_now(t));
        record.val_loss = t->val_loss;
        if (trainer_is_root(t)) trainer_plan_drift(t, &record);
    }
    /* a moved folder still has the file; after FOLDER_LOST the file may belong to another run */
    if (trainer_is_root(t) && t->mine.folder != FOLDER_LOST) TRY(trainer_exports_step(t, &record));
    show(t, &record);
    TRY(account_skip(t, &r));
    bool due = saves(t, t->p.step) && !is_last(t, t->p.step);
    if (due && t->all->folder == FOLDER_FINE) return save_where_it_is(t);
    return evaluates(t, t->p.step) ? trainer_gather(t) : STATUS_OK; /* the time of the evaluation counts for --budget */
}

/* How many steps may stay in flight after `step` is queued: on a GPU one, so that it does not wait for the host. None if an
 * evaluation or a checkpoint needs the weights after this step, or if --budget decides whether there is a next step. */
static uint64_t may_stay(const trainer *t, uint64_t step) {
    bool looked_at = evaluates(t, step) || trainer_due(t->o->checkpoint_every, step) || t->all[0].save_is_due;
    return t->dev->kind == DEVICE_CPU || looked_at || !isnan(t->o->budget) ? 0 : 1;
}

static status finish_steps(trainer *t, uint64_t but) {
    while (t->under_way > but) TRY(finish_step(t));
    return STATUS_OK;
}

/* Skipped steps have not changed the weights. A step in flight is completed, skipped or not. */
static status save_and_fail(trainer *t) {
    char message[1024];
    snprintf(message, sizeof message, "%s", status_message());
    status_code st = finish_steps(t, 0);
    if (st != STATUS_NUMERIC) TRY(st);
    TRY(save_where_it_is(t));
    FAIL(NUMERIC, "%s", message);
}

static status run(trainer *t, train_outcome *outcome) {
    *outcome = TRAIN_DONE;
    meter_book(&t->bill.time, BOOK_USEFUL);
    status_code st = STATUS_OK;
    while (!st && t->p.step + t->under_way < (uint64_t)t->o->steps) {
        if (t->all->folder != FOLDER_FINE) break;
        if (trainer_stopped(t)) *outcome = TRAIN_STOPPED;
        else if (reached_loss(t)) *outcome = TRAIN_REACHED_LOSS;
        else if (next_step_exceeds_budget(t)) *outcome = TRAIN_OUT_OF_BUDGET;
        if (*outcome != TRAIN_DONE) break;
        if ((st = queue_step(t)) == STATUS_STOPPED) break;
        TRY(st);
        st = finish_steps(t, may_stay(t, t->p.step + t->under_way));
    }
    if (st == STATUS_STOPPED) { /* in the step that was being queued; an earlier one may be in flight */
        *outcome = TRAIN_STOPPED;
        if (!t->under_way) trainer_lose_work(t);
        st = STATUS_OK;
    }
    if (!st) st = finish_steps(t, 0);
    if (t->evaluation_left) *outcome = TRAIN_STOPPED;
    if (*outcome == TRAIN_DONE && reached_loss(t)) *outcome = TRAIN_REACHED_LOSS; /* with the last step */
    if (*outcome == TRAIN_STOPPED && t->p.step == 0)
        t->saved_step = 0; /* nothing to save: the seed gives the same weights again */
    if (st == STATUS_NUMERIC && t->skipped_in_row > t->o->max_skipped) return save_and_fail(t);
    TRY(st);
    log_progress_end();
    return save_where_it_is(t);
}

/* The report shows the ledger as of now. The time of writing it is booked too, so the ledger is written last. */
static status report(trainer *t) {
    book_begin(t, BOOK_CHECKPOINT);
    trainer_measure_memory(t);
    trainer_plan_end(t); /* the report shows it */
    TRY(comm_agree(t->world, trainer_is_root(t) ? report_write(t->o->out) : STATUS_OK));
    TRY(trainer_gather(t));
    return write_ledger(t);
}

status trainer_run(const train_options *o, train_outcome *outcome) {
    trainer t = {.o = o};
    status_code st = trainer_open(&t);
    if (!st) stop_wait_for_save();
    if (!st) st = run(&t, outcome);
    log_progress_end();
    if (!st) st = report(&t);
    if (!st) trainer_log_end(&t, *outcome);
    if (!st) st = comm_barrier(t.world); /* mpirun would end the others as soon as one exits with a signal's code */
    heartbeat_close(!t.begun ? HEARTBEAT_FORGET : st ? HEARTBEAT_KEEP : HEARTBEAT_SETTLED);
    if (st) {
        run_lock_release(t.lock); /* since job_fail may not return */
        t.lock = NULL;
        job_fail(&t.job, st);
    }
    trainer_close(&t);
    return st;
}
