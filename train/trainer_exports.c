/* metrics.jsonl, and the copies of its numbers for other programs: --tensorboard and --prometheus. What cannot be opened at the
 * start refuses the run. Later a copy that cannot be written, because the disk is full, costs a warning and not the run: `tally report
 * --tensorboard` writes the event file again; the Prometheus file is tried again a second later. */
#include <math.h>
#include <time.h>

#include "runtime/log.h"
#include "train/trainer_parts.h"

static const uint64_t PROMETHEUS_NS = 1000000000; /* between two writes */

status trainer_exports_check(const trainer *t) {
    const train_options *o = t->o;
    if (!trainer_is_root(t)) return STATUS_OK;
    if (o->prometheus) TRY(prometheus_check(o->prometheus));
    return o->tensorboard ? tensorboard_check(o->tensorboard, o->out) : STATUS_OK;
}

static status write_prometheus(trainer *t, bool active) {
    prometheus_file f = {.path = t->o->prometheus, .run = t->o->out, .model = t->c.name};
    t->exports.prometheus_ns = meter_clock_ns();
    return prometheus_write(&f, &t->exports.last, t->p.val_loss, &t->bill.total, active);
}

status trainer_exports_open(trainer *t) {
    const train_options *o = t->o;
    if (o->tensorboard) TRY(tensorboard_open(&t->exports.tensorboard, o->tensorboard, o->out));
    t->exports.last = (step_record){.step = t->p.step,
                                    .steps = (uint64_t)o->steps,
                                    .tokens = t->p.tokens,
                                    .loss = t->p.loss,
                                    .lr = NAN,
                                    .grad_norm = NAN,
                                    .step_s = NAN,
                                    .tokens_per_s = NAN,
                                    .exposed_s = NAN,
                                    .ranks = t->world->ranks};
    return o->prometheus ? write_prometheus(t, true) : STATUS_OK;
}

static void end_tensorboard(trainer *t) {
    if (tensorboard_close(t->exports.tensorboard)) log_line("warning: --tensorboard: %s", status_message());
    t->exports.tensorboard = NULL;
}

static void append_tensorboard(trainer *t, const json_t *line) {
    if (!t->exports.tensorboard || !tensorboard_append(t->exports.tensorboard, line)) return;
    log_line("warning: --tensorboard: %s; the file ends before step %lu; `tally report --tensorboard %s %s` writes it "
             "again",
             status_message(), t->p.step, t->o->tensorboard, t->o->out);
    end_tensorboard(t);
}

static void update_prometheus(trainer *t, bool active) {
    if (!write_prometheus(t, active)) t->exports.prometheus_failed = false;
    else if (!t->exports.prometheus_failed) {
        log_line("warning: --prometheus: %s; it is tried again", status_message());
        t->exports.prometheus_failed = true;
    }
}

status trainer_exports_step(trainer *t, const step_record *r) {
    json_t *line;
    t->exports.last = *r;
    TRY(metrics_line_of(&line, r));
    status_code st = metrics_append(t->metrics, t->metrics_path.text, line);
    if (!st) append_tensorboard(t, line);
    json_decref(line);
    TRY(st);
    if (t->o->prometheus && meter_clock_ns() - t->exports.prometheus_ns >= PROMETHEUS_NS) update_prometheus(t, true);
    return STATUS_OK;
}

void trainer_exports_close(trainer *t) {
    if (!t->begun || !trainer_is_root(t) || t->mine.folder == FOLDER_LOST) return;
    end_tensorboard(t);
    if (t->o->prometheus) update_prometheus(t, false);
}
