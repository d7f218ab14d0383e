/* Lines for people, on standard error, and a progress display that redraws in place on a terminal. Of several ranks only
 * rank 0 is heard, in all but log_failure. */
#ifndef TALLY_LOG_H
#define TALLY_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

void log_set_rank(int rank, int ranks); /* 0 of 1 until told */
bool log_is_terminal(void);
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2))); /* above the progress line, if any */
/* On a terminal a bar (done: 0 to 1) and the line, broken at its " | " to the width there is, redrawn in place; else the
 * line alone. */
void log_progress(const char *line, double done);
void log_progress_end(void); /* keeps the last progress line and goes below it */
/* This thread's last error, with the rank's number where there are several; where it was, unless the input was bad. */
void log_failure(status_code st);

#endif
