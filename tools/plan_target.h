/* `tally plan --from RUN --target-loss X`: the tokens, hours and dollars at which a run reaches a loss, by the power law through its
 * own curve (train/bill/curve.h), each with its 90% interval. */
#ifndef TALLY_PLAN_TARGET_H
#define TALLY_PLAN_TARGET_H

#include <stdbool.h>

#include "runtime/status.h"

/* price: dollars an hour of one device, or NAN: what the run paid at its last step.
 * DATA, with the reason: the curve has too few points, never reaches the loss, or does not determine when. */
status plan_target(const char *run, double loss, double price, bool json);

#endif
