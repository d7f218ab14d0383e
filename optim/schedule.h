/* Learning rate of step s (0 for the first) of `steps`, after `warmup` steps of linear rise: lr * (s+1)/warmup.
 *   constant   lr
 *   cosine     min + (lr - min)/2 (1 + cos(pi p))    p = (s - warmup)/(steps - warmup)   (Loshchilov & Hutter 2017)
 *   linear     lr + (min - lr) p
 *   wsd        lr, then linearly to min over the last `decay_fraction` of the steps, never before the warm-up's end
 *              (Hu et al. 2024: warm-up, stable, decay)
 * From step `steps` on the rate stays at min. */
#ifndef TALLY_SCHEDULE_H
#define TALLY_SCHEDULE_H

#include <stdint.h>

#include "runtime/choices.h"

#define SCHEDULE_KIND_LIST(X)                                                                                          \
    X(SCHEDULE_COSINE, "cosine") X(SCHEDULE_LINEAR, "linear") X(SCHEDULE_WSD, "wsd") X(SCHEDULE_CONSTANT, "constant")
typedef enum { SCHEDULE_KIND_LIST(CHOICES_VALUE) } schedule_kind;

typedef struct {
    schedule_kind kind;
    double lr, min_lr;
    int64_t warmup, steps;
    double decay_fraction;
} schedule;

double schedule_lr(const schedule *s, int64_t step);

#endif
