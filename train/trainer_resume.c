#include <math.h>
#include <string.h>

#include "runtime/log.h"
#include "train/trainer_parts.h"

status trainer_check_steps(const trainer *t, const char *folder, const progress *then) {
    if (then->step > (uint64_t)t->o->steps)
        FAIL(ARG, "--steps %ld: %s has done %lu steps already; expected %lu or more", t->o->steps, folder, then->step,
             then->step);
    return STATUS_OK;
}

void trainer_log_changes(const trainer *t) {
    const train_options *o = t->o;
    for (const char *line = o->changes ? o->changes : ""; *line;) {
        int length = (int)strcspn(line, "\n");
        log_line("resume: %.*s", length, line);
        line += length + (line[length] == '\n');
    }
    if (t->p.step == (uint64_t)o->steps) {
        log_line("resume: already at step %lu of --steps %ld; nothing to do", t->p.step, o->steps);
        return;
    }
    double before = schedule_lr(&o->lr_before, (int64_t)t->p.step), now = schedule_lr(&o->lr, (int64_t)t->p.step);
    if (fabs(now - before) > 1e-9 * before)
        log_line("resume: the learning rate of step %lu is %.4g; with the options before it would be %.4g",
                 t->p.step + 1, now, before);
}
