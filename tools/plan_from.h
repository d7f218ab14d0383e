/* `tally plan --from RUN`: what a run measured (train/bill/calibration.h) in place of what a datasheet says. */
#ifndef TALLY_PLAN_FROM_H
#define TALLY_PLAN_FROM_H

#include "tools/plan.h"
#include "train/bill/calibration.h"

/* Sets the speed of r: tokens_per_s where its step is the one that the run measured (the same model, batch, sequence, recompute, dtypes,
 * ranks and stage), else the rate of GEMMs: FLOPs that the run executed per second of its whole step and rank. The bandwidth of
 * memory is then INFINITY, since that rate covers all computation. *measured: which of both. */
status plan_from_speed(plan_request *r, bool *measured, const calibration *c);

#endif
