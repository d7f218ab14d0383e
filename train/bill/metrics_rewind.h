/* What a resume does to RUN/metrics.jsonl. */
#ifndef TALLY_METRICS_REWIND_H
#define TALLY_METRICS_REWIND_H

#include "train/bill/spent.h"

/* For a resume at `step`: drops later lines and damaged ones, whose numbers it tells to log_line, and adds an event "resume".
 * In constant memory. *last holds what is known from elsewhere: seconds and money of a line that got further replace it,
 * and the larger energy counts.
 * The file is replaced at once, or, where nothing is dropped, only added to. An absent one is told where step is above 0. */
status metrics_rewind(const char *path, uint64_t step, spent_totals *last);

#endif
