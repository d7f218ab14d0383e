/* Log lines on standard error, and a progress display that is redrawn in place on a terminal. Only rank 0 writes, except in
 * log_failure. */
#ifndef TALLY_LOG_H
#define TALLY_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

void log_set_rank(int rank, int ranks); /* rank 0 of 1 until it is set */
bool log_is_terminal(void);
void log_line(const char *format, ...)
    __attribute__((format(printf, 1, 2))); /* above the progress line, if there is one */
/* On a terminal: a bar (done: 0 to 1) and the line, redrawn in place and wrapped at its " | " to the terminal's width.
 * Elsewhere: the line alone. */
void log_progress(const char *line, double done);
void log_progress_end(void); /* keeps the last progress line and moves below it */
/* Writes this thread's last error, with the rank's number if there are several ranks, and with its source location unless
 * the input was bad. */
void log_failure(status_code st);

#endif
