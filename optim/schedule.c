#include "optim/schedule.h"

#include <math.h>

/* the fraction of the way from `first` to `last` at `step`, within [0, 1] */
static double progress(double step, double first, double last) {
    if (step >= last) return 1;
    return step <= first ? 0 : (step - first) / (last - first);
}

double schedule_lr(const schedule *s, int64_t step) {
    if (step < s->warmup) return s->lr * (double)(step + 1) / (double)s->warmup;
    double at = (double)step, first = (double)s->warmup, last = (double)s->steps;
    switch (s->kind) {
    case SCHEDULE_CONSTANT: return s->lr;
    case SCHEDULE_COSINE: return s->min_lr + (s->lr - s->min_lr) / 2 * (1 + cos(M_PI * progress(at, first, last)));
    case SCHEDULE_LINEAR: break;
    case SCHEDULE_WSD: first = fmax(first, last - s->decay_fraction * last); break;
    }
    return s->lr + (s->min_lr - s->lr) * progress(at, first, last);
}
