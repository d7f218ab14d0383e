/* `tally plan --gpus`: the dated hardware table (train/bill/hardware.h), with the source of every figure. */
#ifndef TALLY_PLAN_GPUS_H
#define TALLY_PLAN_GPUS_H

#include "runtime/status.h"

#include <stdbool.h>

status plan_gpus(bool json);

#endif
