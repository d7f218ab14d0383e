/* Prepares RUN/metrics.jsonl for a resume. */
#ifndef TALLY_METRICS_REWIND_H
#define TALLY_METRICS_REWIND_H

#include "train/bill/spent.h"

/* Drops damaged lines, which are logged, and lines of steps after `step`; appends an event "resume". Uses constant memory.
 * *last: what the run is known to have spent. Time and money of a line that was written later replace it, and so does a larger
 * energy; stopped_ns stays.
 * If nothing is dropped, the event is appended to the file; otherwise the file is replaced atomically. A missing file is no
 * error; it is logged if step is above 0. */
status metrics_rewind(const char *path, uint64_t step, spent_totals *last);

#endif
